// A small system in plain Verilog: the accelerator, a memory with a scene, and a host that renders one frame.
//
// The host plays the register writes of `writes.hex`, waits for the interrupt, and holds the frame in memory to
// `frame.hex`. Files are read from the folder that the simulator runs in.
`timescale 1ns/1ps
`include "soc.vh"
module soc;
  reg clk = 0, rst = 1;
  always #5 clk = !clk;
  initial begin
    repeat (4) @(posedge clk);
    rst <= 0;
  end

  @@{declarations}

  @@{top} accelerator (
    @@{connections}
  );
  @@{memory}
  initial #1 $readmemh("scene.hex", memory.mem);

  // ---- The host ----

  reg [63:0] writes [0:`SOC_WRITES-1];  // Address, value.
  reg [127:0] expected [0:`SOC_FRAME_WORDS-1];
  reg [31:0] value;
  integer step, word, wrong = 0;
  initial begin
    $readmemh("writes.hex", writes);
    $readmemh("frame.hex", expected);
    control__awvalid = 0; control__wvalid = 0; control__arvalid = 0;
    control__bready = 1; control__rready = 1;
    control__awprot = 0; control__arprot = 0; control__wstrb = 4'hf;
    @(negedge rst);
    for (step = 0; step < `SOC_WRITES; step = step + 1) write(writes[step][63:32], writes[step][31:0]);
    wait (interrupt);
    read(`SOC_STATUS);
    if (value & `SOC_ERROR) begin
      $display("soc: the frame has ended with status %h", value);
      $fatal;
    end
    for (word = 0; word < `SOC_FRAME_WORDS; word = word + 1)
      if (memory.mem[`SOC_FRAME_WORD + word] !== expected[word]) wrong = wrong + 1;
    read(`SOC_CYCLES);
    if (wrong != 0) begin
      $display("soc: %0d of %0d words of the frame differ", wrong, `SOC_FRAME_WORDS);
      $fatal;
    end
    $display("soc: the frame is the expected one, %0d words, after %0d cycles", `SOC_FRAME_WORDS, value);
    $finish;
  end

  task write(input [31:0] address, input [31:0] data);
    begin
      @(posedge clk);
      control__awaddr <= address; control__wdata <= data;
      control__awvalid <= 1; control__wvalid <= 1;
      @(posedge clk);
      while (!(control__awready && control__wready)) @(posedge clk);
      control__awvalid <= 0; control__wvalid <= 0;
      while (!control__bvalid) @(posedge clk);
    end
  endtask

  task read(input [31:0] address);
    begin
      @(posedge clk);
      control__araddr <= address; control__arvalid <= 1;
      @(posedge clk);
      while (!control__arready) @(posedge clk);
      control__arvalid <= 0;
      while (!control__rvalid) @(posedge clk);
      value = control__rdata;
      @(posedge clk);
    end
  endtask
endmodule
