import json


def test_doctor_names_every_tool(call, tmp_path):
    status, out, _ = call("doctor", "--json", tmp_path / "tools.json")
    assert status == 0
    result = json.loads((tmp_path / "tools.json").read_text())
    tools = {row["tool"]: row for row in result["tools"]}
    assert {"python", "torch", "amaranth", "cocotb", "verilator", "g++/make/perl", "icarus"} <= set(tools)
    assert all(name in out for name in tools)
    assert result["versions"]["python"] == tools["python"]["version"]
