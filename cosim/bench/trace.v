  integer trace = 0;
  reg [8*1024-1:0] trace_file;
  initial if ($value$plusargs("trace=%s", trace_file)) trace = $fopen(trace_file, "w");
  always @(posedge clk)
    if (trace != 0 && !rst_held) begin
@@{writes}
    end
