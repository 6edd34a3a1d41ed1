// The accelerator on a ULX3S (LFE5U-85F): clock, reset and pins.
module ulx3s (
  input clk_25mhz,
  input ftdi_txd,   // from the computer
  output ftdi_rxd,  // to the computer
  input btn_fire,
  output [7:0] led,
  output wifi_gpio0
);
  wire clk, locked, busy;
  reg [15:0] since = 0;
  reg rst = 1;
  EHXPLLL #(
    .CLKI_DIV($reference_divisor), .CLKFB_DIV($feedback_divisor), .CLKOP_DIV($output_divisor),
    .CLKOP_CPHASE($phase), .CLKOP_FPHASE(0), .CLKOP_ENABLE("ENABLED"), .FEEDBK_PATH("CLKOP")
  ) pll (
    .CLKI(clk_25mhz), .CLKFB(clk), .CLKOP(clk), .LOCK(locked), .RST(1'b0), .STDBY(1'b0),
    .PHASESEL0(1'b0), .PHASESEL1(1'b0), .PHASEDIR(1'b0), .PHASESTEP(1'b0), .PHASELOADREG(1'b0),
    .PLLWAKESYNC(1'b0), .ENCLKOP(1'b0)
  );
  always @(posedge clk) begin
    // Held until the clock stands, and as long as the button is pressed.
    since <= !locked || btn_fire ? 0 : since + !since[15];
    rst <= !since[15];
  end
  $accelerator accelerator (
    .clk(clk), .rst(rst), .from_computer(ftdi_txd), .to_computer(ftdi_rxd), .busy(busy)
  );
  assign led = {6'd0, busy, !rst};
  assign wifi_gpio0 = 1'b1;  // Else the ESP32 takes the board over.
endmodule
