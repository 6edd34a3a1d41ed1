// The bench round a top: clock, gated clock for Python, cycle count. `cosim.wrapper` fills in what depends on the top.
`timescale 1ns/1ps
module @@{bench};
  reg clk = 0, rst_held = 1;
  reg mem_clk @@{seen} = 0, rst @@{driven} = 1, host_active @@{driven} = 1;
  reg [63:0] cycle @@{seen} = 0;
  reg python_memory = 0;
  initial if ($test$plusargs("python_memory")) python_memory = 1;
  @@{declarations}

  @@{top} dut (
    @@{connections}
  );

  // What Python drives takes effect at the edge that follows, as the output of any flip-flop.
  always @(posedge clk) begin
    rst_held <= rst;
    cycle <= rst_held ? 64'd0 : cycle + 64'd1;
    @@{holds}
  end

  reg [15:0] reads = 0, writes = 0;
  reg [1:0] quiet = 0;
  reg free_clock = 0;
  initial if ($test$plusargs("free_clock")) free_clock = 1;
  wire traffic = @@{axi}_arvalid | @@{axi}_awvalid | @@{axi}_wvalid | (reads != 0) | (writes != 0);
  wire busy = rst | rst_held | host_active | free_clock | (python_memory & traffic);
  wire active = busy | (quiet != 2'd3);
  always @(posedge clk) begin
    if (rst_held) begin
      reads <= 0;
      writes <= 0;
    end else begin
      reads <= reads + {15'd0, @@{axi}_arvalid & @@{axi}_arready_held}
        - {15'd0, @@{axi}_rvalid_held & @@{axi}_rready & @@{axi}_rlast_held};
      writes <= writes + {15'd0, @@{axi}_awvalid & @@{axi}_awready_held}
        - {15'd0, @@{axi}_bvalid_held & @@{axi}_bready};
    end
    quiet <= busy ? 2'd0 : quiet == 2'd3 ? 2'd3 : quiet + 2'd1;
  end

  // The gate is read once a cycle, in the low phase, by the process that makes both clocks: it
  // can not glitch.
  always begin
    if (active) begin
      #@@{early} mem_clk = 1;
      #1;
    end else
      #@@{half};
    clk = 1;
    #@@{half} clk = 0;
    mem_clk = 0;
  end
  @@{memory}
@@{trace}endmodule
