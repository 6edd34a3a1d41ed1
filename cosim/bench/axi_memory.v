// The memory of a bench, its timing as `cosim.wrapper.MEMORY_TIMING` says.
module axi_memory #(
  parameter ADDRESS = 32, DATA = 128, BYTES = 16777216, READ_ID = 1, WRITE_ID = 1
) (
  input clk, input rst, input dump, input [31:0] dump_first, input [31:0] dump_last,
  input [READ_ID-1:0] arid, input [ADDRESS-1:0] araddr, input [7:0] arlen, input [2:0] arsize,
  input [1:0] arburst, input arvalid, output arready,
  output [READ_ID-1:0] rid, output [DATA-1:0] rdata, output [1:0] rresp, output rlast,
  output rvalid, input rready,
  input [WRITE_ID-1:0] awid, input [ADDRESS-1:0] awaddr, input [7:0] awlen, input [2:0] awsize,
  input [1:0] awburst, input awvalid, output awready,
  input [DATA-1:0] wdata, input [DATA/8-1:0] wstrb, input wlast, input wvalid, output wready,
  output [WRITE_ID-1:0] bid, output [1:0] bresp, output bvalid, input bready
);
  localparam LANES = DATA / 8, LANE_BITS = $clog2(LANES), WORDS = BYTES / LANES;
  localparam WORD_BITS = $clog2(WORDS);
  localparam [1:0] OKAY = 0, SLVERR = 2, DECERR = 3;

  reg [DATA-1:0] mem [0:WORDS-1];
  reg [31:0] latency = 20, interval = 1, pause = 0, seed = 1;
  integer fail_read = -1, index;
  reg [8*1024-1:0] memory_file, memory_out;
  initial begin
    if ($value$plusargs("latency=%d", latency)) ;
    if ($value$plusargs("interval=%d", interval)) ;
    if ($value$plusargs("pause=%d", pause)) ;
    if ($value$plusargs("seed=%d", seed)) ;
    if ($value$plusargs("fail_read=%d", fail_read)) ;
    for (index = 0; index < WORDS; index = index + 1) mem[index] = 0;
    if ($value$plusargs("memory=%s", memory_file)) $readmemh(memory_file, mem);
    if (seed == 0 || latency == 0 || interval == 0 || pause > 255) begin
      $display("memory: seed, latency and interval must be at least 1 and pause at most 255");
      $finish;
    end
  end
  always @(posedge dump)
    if ($value$plusargs("memory_out=%s", memory_out))
      $writememh(memory_out, mem, dump_first, dump_last);

  // ---- Random stalls ----
  reg [31:0] random = 0;
  wire [31:0] random_1 = random ^ (random << 13);
  wire [31:0] random_2 = random_1 ^ (random_1 >> 17);
  wire [31:0] random_3 = random_2 ^ (random_2 << 5);
  wire hold_ar = {24'd0, random[7:0]} < pause, hold_r = {24'd0, random[15:8]} < pause;
  wire hold_aw = {24'd0, random[23:16]} < pause, hold_w = {24'd0, random[31:24]} < pause;

  // ---- Reads: a queue of 16 bursts ----
  reg [31:0] now = 0;
  reg [ADDRESS-1:0] queue_address [0:15];
  reg [7:0] queue_length [0:15];
  reg [31:0] queue_time [0:15];
  reg [READ_ID-1:0] queue_id [0:15];
  reg [4:0] head = 0, tail = 0;
  reg [7:0] beat = 0;
  reg r_offered = 0;
  reg [31:0] r_wait = 0;
  integer bursts = 0;
  wire [4:0] waiting = tail - head;
  wire [3:0] first = head[3:0];
  wire due = waiting != 0 && now - queue_time[first] >= latency && r_wait == 0;
  wire [ADDRESS-1:0] r_word = (queue_address[first] >> LANE_BITS) + {{(ADDRESS-8){1'b0}}, beat};
  assign arready = waiting < 16 && !hold_ar;
  assign rvalid = due && (r_offered || !hold_r);
  assign rdata = r_word < WORDS ? mem[r_word[WORD_BITS-1:0]] : {DATA{1'b0}};
  assign rresp = r_word >= WORDS ? DECERR : bursts == fail_read ? SLVERR : OKAY;
  assign rlast = beat == queue_length[first];
  assign rid = queue_id[first];

  // ---- Writes: one burst at a time ----
  reg w_busy = 0, b_due = 0, b_offered = 0, w_failed = 0;
  reg [31:0] w_wait = 0;
  reg [ADDRESS-1:0] w_word = 0;
  reg [7:0] w_left = 0;
  reg [WRITE_ID-1:0] w_id = 0;
  assign awready = !w_busy && !hold_aw;
  assign wready = w_busy && !b_due && w_wait == 0 && !hold_w;
  assign bvalid = b_due && (b_offered || !hold_w);
  assign bresp = w_failed ? DECERR : OKAY;
  assign bid = w_id;

  integer lane;
  always @(posedge clk) begin
    if (rst) begin
      now <= 0; random <= seed; head <= 0; tail <= 0; beat <= 0; r_offered <= 0; bursts <= 0;
      w_busy <= 0; b_due <= 0; b_offered <= 0; r_wait <= 0; w_wait <= 0;
    end else begin
      now <= now + 1;
      random <= random_3;
      if (arvalid && arready) begin
        queue_address[tail[3:0]] <= araddr;
        queue_length[tail[3:0]] <= arlen;
        queue_time[tail[3:0]] <= now;
        queue_id[tail[3:0]] <= arid;
        tail <= tail + 1;
        check_burst(araddr, arlen, arsize, arburst);
      end
      r_offered <= rvalid && !rready;
      r_wait <= rvalid && rready ? interval - 1 : r_wait == 0 ? 0 : r_wait - 1;
      w_wait <= wvalid && wready ? interval - 1 : w_wait == 0 ? 0 : w_wait - 1;
      if (rvalid && rready) begin
        beat <= rlast ? 8'd0 : beat + 8'd1;
        if (rlast) begin
          head <= head + 1;
          bursts <= bursts + 1;
        end
      end
      if (awvalid && awready) begin
        w_busy <= 1; w_failed <= 0; w_word <= awaddr >> LANE_BITS; w_left <= awlen; w_id <= awid;
        check_burst(awaddr, awlen, awsize, awburst);
      end
      if (wvalid && wready) begin
        if (w_word < WORDS) begin
          for (lane = 0; lane < LANES; lane = lane + 1)
            if (wstrb[lane]) mem[w_word[WORD_BITS-1:0]][8*lane +: 8] <= wdata[8*lane +: 8];
        end else
          w_failed <= 1;
        w_word <= w_word + 1;
        w_left <= w_left - 1;
        if (wlast != (w_left == 0)) $error("memory: wlast must be set on the last beat only");
        if (w_left == 0) b_due <= 1;
      end
      b_offered <= bvalid && !bready;
      if (bvalid && bready) begin
        b_due <= 0;
        w_busy <= 0;
      end
    end
  end

  task check_burst(
    input [ADDRESS-1:0] address, input [7:0] length, input [2:0] size, input [1:0] burst
  );
    begin
      if (burst != 2'd1) $error("memory: burst must be INCR (1), not %0d", burst);
      if ((1 << size) != LANES) $error("memory: size must be the full data width, not %0d", size);
      if ({20'd0, address[11:0]} + ((length + 1) << LANE_BITS) > 4096)
        $error("memory: a burst must stay inside 4 KiB, not start at %h with %0d beats",
          address, length + 1);
      if ((address & (LANES - 1)) != 0) $error("memory: address must be aligned, not %h", address);
    end
  endtask
endmodule
