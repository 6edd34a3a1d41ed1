  // What stands at the ports of instances inside the top, from the first edge on: a line for each change.
  integer watch = 0, watch_ticks = 0;
  reg [8*1024-1:0] watch_file;
  reg [63:0] tick = 0;
  initial if ($value$plusargs("watch=%s", watch_file)) watch = $fopen(watch_file, "w");
  initial if ($value$plusargs("watch_ticks=%d", watch_ticks)) ;
  @@{declarations}
  always @(posedge clk) begin
    tick <= tick + 64'd1;
    if (watch != 0 && tick < watch_ticks) begin
@@{writes}
    end
  end
