"""Where the witnesses meet: RTL in a Verilog simulator, integer model, cycle simulator."""
