import importlib.util
import json
import re
import shutil
import subprocess

import pytest

from rtl.verilog.asic import with_macros, without_start
from rtl.verilog.export import parts_of
from rtl.verilog.memory import SYNC, Kind
from rtnerf.physical.hand_off import SRAMS, Sram, mapped, orfs, tiling
from tests.rtl.verilog.test_memory import FROM_BLANK, KINDS, proves

# As IHP's: port A writes here, port B reads, and what is read stays.
SRAM = """
module {name}(input A_CLK, A_MEN, A_WEN, A_REN, A_DLY, input [{address}:0] A_ADDR, input [{data}:0] A_DIN,
              output [{data}:0] A_DOUT, input B_CLK, B_MEN, B_WEN, B_REN, B_DLY, input [{address}:0] B_ADDR,
              input [{data}:0] B_DIN, output reg [{data}:0] B_DOUT);
  reg [{data}:0] rows [{last}:0];
  always @(posedge A_CLK) if (A_MEN && A_WEN) rows[A_ADDR] <= A_DIN;
  always @(posedge B_CLK) if (B_MEN && B_REN) B_DOUT <= rows[B_ADDR];
endmodule
"""


def as_srams(sram):
    def write(holder):
        logic, kinds = parts_of(holder, "other")
        memories, macros = with_macros(kinds, macro_bits=1)
        address = (sram.words - 1).bit_length() - 1
        model = SRAM.format(name=sram.name, address=address, data=sram.bits - 1, last=sram.words - 1)
        return "\n".join([without_start(logic), *memories, *(mapped(*one, [sram]) for one in macros.items()), model])

    return write


needs_pyosys = pytest.mark.skipif(importlib.util.find_spec("pyosys") is None, reason="pyosys is not installed")


@needs_pyosys
@pytest.mark.parametrize(
    ("name", "sram"),
    [
        ("written", Sram(2, 3, has_test=False)),
        ("in parts", Sram(8, 3, has_test=False)),
        ("transparent", Sram(4, 4, has_test=False)),
    ],
)
def test_a_memory_of_srams_means_the_same(name, sram, tmp_path):
    assert proves(KINDS[name], tmp_path, write=as_srams(sram), proof=FROM_BLANK)


@needs_pyosys
@pytest.mark.parametrize(("written", "wrong"), [("bank == 0", "bank == 1"), ("write_bank == 1", "write_bank == 0")])
def test_a_wrong_bank_is_found(written, wrong, tmp_path):
    def change(text):
        assert written in text
        return text.replace(written, wrong)

    assert not proves(KINDS["written"], tmp_path, change, as_srams(Sram(2, 3, has_test=False)), FROM_BLANK)


def test_srams_are_chosen_by_area_and_parts_stay_apart():
    def of(words, bits, parts=1):
        return tiling(Kind(bits, words, 0, (), (SYNC,), parts))

    assert of(768, 128) == (Sram(1024, 32), 1, 4)
    assert of(2048, 48) == (Sram(1024, 16), 2, 3)
    assert of(7, 256) == (Sram(64, 32, has_test=False), 1, 8)
    assert of(32, 24, parts=2).columns == 2
    assert SRAMS[0].name == "RM_IHPSG13_2P_64x32_c2"
    assert Sram(512, 8).name == "RM_IHPSG13_2P_512x8_c2_bm_bist"


def test_a_folder_for_librelane_is_whole(call, tmp_path):
    """Every file, every macro and every name of the constraints is there."""
    status, out, err = call("generate", "--hand-off", "librelane", "--out", tmp_path, "--clock-mhz", 40)
    assert (status, err) == (0, "")
    assert "memories that begin with a content and are written later: none\n" in out
    settings = json.loads((tmp_path / "config.json").read_text())
    assert settings["CLOCK_PERIOD"] == 25
    texts = [(tmp_path / name.removeprefix("dir::")).read_text() for name in settings["VERILOG_FILES"]]
    macros = json.loads((tmp_path / "macros.json").read_text())
    models = (tmp_path / "rtnerf_macros.v").read_text()
    for macro in macros:
        for text in (texts[1], models):
            assert text.count(f"module {macro['macro']}(") == 1
        assert len(re.findall(rf"^  {macro['macro']} copy_", texts[0], re.MULTILINE)) >= 1
        assert macro["sram"] in settings["MACROS"]
        assert 0 < macro["used_share"] <= 1
    assert texts[0].count("module rtnerf_chip(") == 1
    assert not re.search(r"^  (initial|reg [^=\n]* = \d+')", texts[0], re.MULTILINE)
    constraints = (tmp_path / "rtnerf.sdc").read_text()
    assert "set period 25.000" in constraints
    registers = re.search(
        r"^\(\* keep_hierarchy \*\)\nmodule \\rtnerf\.registers .*?^endmodule", texts[0], re.MULTILINE | re.DOTALL
    )[0]
    still = re.findall(r"core\.registers/(\w+)\*", constraints)
    assert "view" in still
    for name in still:
        assert re.search(rf"^  output (\[\d+:0\] )?{name};", registers, re.MULTILINE), name
    ports = {port["name"] for port in json.loads((tmp_path / "rtnerf.json").read_text())["ports"]}
    named = re.findall(r"(\w+)\*?", " ".join(re.findall(r"get_ports \{?([^}\]]*)", constraints)))
    assert set(named) == ports


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_reads_the_configuration_of_orfs(tmp_path):
    path = tmp_path / "config.mk"
    path.write_text(orfs("tiny", ["RM_A"], 20.0)["config.mk"])
    shown = "show: ; @echo $(VERILOG_FILES) $(SDC_FILE) $(ADDITIONAL_LEFS)"
    command = ["make", "--no-print-directory", "-f", str(path), "--eval", shown, "show", "IHP_PDK=/pdk"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    files = [f"{tmp_path}/rtnerf{ending}" for ending in (".v", "_sg13g2.v", ".sdc")]
    assert found == [*files, "/pdk/ihp-sg13g2/libs.ref/sg13g2_sram/lef/RM_A.lef"]
