// The bench of the engine cxxrtl: clock, host and memory round the generated class, all in C++.
//
// Compiled together with Yosys' model of the top; `cosim/cxxrtl.py` defines DESIGN (file of the model), TOP (its class),
// PROBES(PROBE) (one PROBE(number, member) for each probed stream) and, if the top has an input ``strap``, STRAP (its
// member) in `bench.h`. The interface is plain C, at the end of this file.

#include "bench.h"

#include DESIGN

#include <cstring>
#include <vector>

namespace {

using cxxrtl::value;
using cxxrtl::wire;

// A port of the class is a value, or a wire where it comes straight from a register.
template <size_t Bits> const value<Bits> &port(const value<Bits> &item) { return item; }
template <size_t Bits> const value<Bits> &port(const wire<Bits> &item) { return item.curr; }

template <class Item> uint64_t get(const Item &item) {
  const auto &bits = port(item);
  uint64_t number = bits.data[0];
  if (bits.chunks > 1)
    number |= uint64_t(bits.data[bits.chunks > 1 ? 1 : 0]) << 32;
  return number;
}

template <size_t Bits> void set(value<Bits> &item, uint64_t number) {
  item = value<Bits>{};
  for (size_t chunk = 0; chunk < value<Bits>::chunks && chunk < 2; chunk++)
    item.data[chunk] = uint32_t(number >> 32 * chunk);
}

enum Outcome { RUNNING = 0, FINISHED = 1, BAD_BURST = 2, BAD_LAST = 3, ASTRAY = 4 };
enum Response { OKAY = 0, SLVERR = 2, DECERR = 3 };
enum Action { WRITE = 0, READ = 1, WAIT = 2, INTERRUPT = 3 };

constexpr unsigned LANES = 16; // bytes of a beat
constexpr unsigned QUEUE = 16; // read bursts accepted ahead
constexpr unsigned RESET_CYCLES = 4;

struct Step {
  uint32_t action, address, value;
};

struct Record {
  uint64_t cycle;
  uint32_t stream;
  uint32_t payload[PAYLOAD_WORDS];
};

// A part of the memory: from a byte up to, without, another.
struct Range {
  uint64_t first, end;

  bool holds(uint64_t address, uint64_t bytes) const { return first <= address && address + bytes <= end; }
};

struct Settings {
  uint8_t *memory;
  uint64_t memory_bytes;
  Range image, frame, lists; // what the registers give: read, written, both
  uint32_t latency, interval, pause, seed;
  int32_t fail_read;
  int32_t flip_beat; // of the beats that are read from the lists; -1: none
  uint32_t flip_bit;
  uint32_t record, strap;
};

// The AXI4 memory of cosim/wrapper.py, cycle by cycle (MEMORY_TIMING there). What it drives depends on its state alone.
class Memory {
public:
  explicit Memory(const Settings &settings) : settings(settings), random(settings.seed) {}

  void drive(TOP &top) {
    const Burst &first = queue[head % QUEUE];
    const uint64_t word = first.word + beat;
    const bool present = word < settings.memory_bytes / LANES;
    arready = tail - head < QUEUE && !held(0);
    rvalid = tail != head && now - first.time >= settings.latency && now >= r_from && (r_offered || !held(1));
    rlast = beat == first.length;
    awready = !w_busy && !held(2);
    wready = w_busy && !b_due && now >= w_from && !held(3);
    bvalid = b_due && (b_offered || !held(3));
    set(top.p_axi____arready, arready);
    set(top.p_axi____rvalid, rvalid);
    if (rvalid) {
      set(top.p_axi____rid, first.id);
      set(top.p_axi____rlast, rlast);
      set(top.p_axi____rresp, !present ? DECERR : int64_t(bursts) == settings.fail_read ? SLVERR : OKAY);
      if (present) {
        std::memcpy(top.p_axi____rdata.data, settings.memory + word * LANES, LANES);
        if (listed(word) && list_beats == settings.flip_beat)
          top.p_axi____rdata.data[settings.flip_bit / 32] ^= 1u << settings.flip_bit % 32;
      } else
        top.p_axi____rdata = value<8 * LANES>{};
    }
    set(top.p_axi____awready, awready);
    set(top.p_axi____wready, wready);
    set(top.p_axi____bvalid, bvalid);
    set(top.p_axi____bid, w_id);
    set(top.p_axi____bresp, w_failed ? DECERR : OKAY);
  }

  Outcome clock(const TOP &top) {
    Outcome outcome = RUNNING;
    if (arready && get(top.p_axi____arvalid)) {
      queue[tail++ % QUEUE] = {get(top.p_axi____araddr) / LANES, now, uint32_t(get(top.p_axi____arlen)),
                               uint32_t(get(top.p_axi____arid))};
      if (!legal(get(top.p_axi____araddr), get(top.p_axi____arlen), get(top.p_axi____arsize),
                 get(top.p_axi____arburst)))
        outcome = BAD_BURST;
      const uint64_t bytes = (get(top.p_axi____arlen) + 1) * LANES;
      if (!settings.image.holds(get(top.p_axi____araddr), bytes) && !settings.lists.holds(get(top.p_axi____araddr), bytes))
        outcome = ASTRAY;
    }
    const bool r_taken = rvalid && get(top.p_axi____rready);
    r_offered = rvalid && !r_taken;
    if (r_taken) {
      list_beats += listed(queue[head % QUEUE].word + beat);
      r_from = now + settings.interval;
      beat = rlast ? 0 : beat + 1;
      head += rlast;
      bursts += rlast;
    }
    if (awready && get(top.p_axi____awvalid)) {
      w_busy = true;
      w_failed = false;
      w_word = get(top.p_axi____awaddr) / LANES;
      w_left = get(top.p_axi____awlen);
      w_id = get(top.p_axi____awid);
      if (!legal(get(top.p_axi____awaddr), get(top.p_axi____awlen), get(top.p_axi____awsize),
                 get(top.p_axi____awburst)))
        outcome = BAD_BURST;
      const uint64_t bytes = (get(top.p_axi____awlen) + 1) * LANES;
      if (!settings.frame.holds(get(top.p_axi____awaddr), bytes) && !settings.lists.holds(get(top.p_axi____awaddr), bytes))
        outcome = ASTRAY;
    }
    if (wready && get(top.p_axi____wvalid)) {
      write(get(top.p_axi____wstrb), port(top.p_axi____wdata));
      if (bool(get(top.p_axi____wlast)) != (w_left == 0))
        outcome = BAD_LAST;
      w_from = now + settings.interval;
      b_due = w_left == 0;
      w_word++;
      w_left--;
    }
    const bool b_taken = bvalid && get(top.p_axi____bready);
    b_offered = bvalid && !b_taken;
    if (b_taken)
      b_due = w_busy = false;
    random ^= random << 13;
    random ^= random >> 17;
    random ^= random << 5;
    now++;
    return outcome;
  }

private:
  struct Burst {
    uint64_t word, time;
    uint32_t length, id;
  };

  bool listed(uint64_t word) const { return settings.lists.holds(word * LANES, LANES); }

  bool held(unsigned byte) const { return (random >> 8 * byte & 255) < settings.pause; }

  static bool legal(uint64_t address, uint64_t length, uint64_t size, uint64_t burst) {
    return burst == 1 && 1u << size == LANES && address % LANES == 0 &&
           address % 4096 + (length + 1) * LANES <= 4096;
  }

  void write(uint64_t strobe, const value<8 * LANES> &data) {
    if (w_word >= settings.memory_bytes / LANES) {
      w_failed = true;
      return;
    }
    for (unsigned lane = 0; lane < LANES; lane++)
      if (strobe >> lane & 1)
        settings.memory[w_word * LANES + lane] = uint8_t(data.data[lane / 4] >> 8 * (lane % 4));
  }

  const Settings settings;
  uint32_t random;
  uint64_t now = 0, bursts = 0, r_from = 0, w_from = 0;
  int64_t list_beats = 0;
  Burst queue[QUEUE] = {};
  unsigned head = 0, tail = 0, beat = 0;
  bool r_offered = false, w_busy = false, b_due = false, b_offered = false, w_failed = false;
  uint64_t w_word = 0, w_left = 0, w_id = 0;
  bool arready = false, rvalid = false, rlast = false, awready = false, wready = false, bvalid = false;
};

// Works through a list of register accesses and waits; always ready for the answer.
class Host {
public:
  Host(const Step *steps, size_t count) : steps(steps, steps + count) {}

  void add(const Step &step) { steps.push_back(step); }

  bool finished() const { return next == steps.size(); }

  void drive(TOP &top) {
    const bool wanted = !finished() && !address_taken;
    const bool write = wanted && steps[next].action == WRITE, read = wanted && steps[next].action == READ;
    set(top.p_control____awvalid, write);
    set(top.p_control____wvalid, write);
    set(top.p_control____arvalid, read);
    set(top.p_control____bready, 1);
    set(top.p_control____rready, 1);
    if (wanted) {
      set(top.p_control____awaddr, steps[next].address);
      set(top.p_control____araddr, steps[next].address);
      set(top.p_control____wdata, steps[next].value);
      set(top.p_control____wstrb, 15);
    }
  }

  void clock(const TOP &top) {
    if (finished())
      return;
    Step &step = steps[next];
    bool done = false;
    switch (step.action) {
    case WRITE:
      done = get(top.p_control____bvalid);
      address_taken |= get(top.p_control____awready) && get(top.p_control____wready);
      break;
    case READ:
      done = get(top.p_control____rvalid);
      address_taken |= get(top.p_control____arready);
      if (done)
        values.push_back(uint32_t(get(top.p_control____rdata)));
      break;
    case WAIT:
      done = step.value-- <= 1;
      break;
    case INTERRUPT:
      done = get(top.p_interrupt);
      break;
    }
    if (done) {
      next++;
      address_taken = false;
    }
  }

  std::vector<uint32_t> values;

private:
  std::vector<Step> steps;
  size_t next = 0;
  bool address_taken = false;
};

class Bench {
public:
  Bench(const Settings &settings, const Step *steps, size_t count)
      : record(settings.record), memory(settings), host(steps, count) {
#ifdef STRAP
    set(top.STRAP, settings.strap);
#endif
    set(top.p_rst, 1);
    single_pass = top.eval();
    for (unsigned cycle = 0; cycle < RESET_CYCLES; cycle++) {
      evaluate();
      top.commit();
    }
    set(top.p_rst, 0);
  }

  Outcome run(uint64_t cycles) {
    for (const uint64_t end = cycle + cycles; cycle < end; cycle++) {
      memory.drive(top);
      host.drive(top);
      evaluate();
      if (record)
        observe();
      host.clock(top);
      const Outcome outcome = memory.clock(top);
      top.commit();
      if (outcome != RUNNING)
        return outcome;
      if (host.finished())
        return FINISHED;
    }
    return RUNNING;
  }

  void add(const Step &step) { host.add(step); }

  uint64_t cycle = 0;
  std::vector<Record> records;
  const std::vector<uint32_t> &values() const { return host.values; }

private:
  // One rising edge, up to the point where outputs still show the cycle that ends and registers have their next value.
  // A model without combinational feedback needs no evaluation of the low phase: one pass settles every signal.
  void evaluate() {
    set(top.p_clk, 0);
    if (single_pass)
      top.prev_p_clk = top.p_clk;
    else
      top.step();
    set(top.p_clk, 1);
    top.eval();
  }

  void observe() {
#define PROBE(number, member)                                                                                          \
  if (get(top.member##____fire))                                                                                       \
    keep(number, port(top.member##____payload));
    PROBES(PROBE)
#undef PROBE
  }

  template <size_t Bits> void keep(uint32_t stream, const value<Bits> &payload) {
    static_assert(value<Bits>::chunks <= PAYLOAD_WORDS, "PAYLOAD_WORDS is too small");
    Record entry = {cycle, stream, {}};
    std::memcpy(entry.payload, payload.data, sizeof(payload.data));
    records.push_back(entry);
  }

  const bool record;
  TOP top;
  Memory memory;
  Host host;
  bool single_pass = false;
};

} // namespace

// All else is hidden, so that calls inside the model are direct.
#pragma GCC visibility push(default)
extern "C" {

// A bench in its first cycle without reset. `settings.memory` stays the caller's.
Bench *bench_create(const Settings *settings, const Step *steps, uint64_t count) {
  return new Bench(*settings, steps, count);
}

// Give the host one more step.
void bench_step(Bench *bench, uint32_t action, uint32_t address, uint32_t value) { bench->add({action, address, value}); }

// Run until the host's last step is done, an error, or some cycles have passed.
int32_t bench_run(Bench *bench, uint64_t cycles) { return bench->run(cycles); }

uint64_t bench_cycle(const Bench *bench) { return bench->cycle; }

uint64_t bench_value_count(const Bench *bench) { return bench->values().size(); }

// What the host read, in order; valid until the next call of bench_run.
const uint32_t *bench_values(const Bench *bench) { return bench->values().data(); }

uint64_t bench_record_count(const Bench *bench) { return bench->records.size(); }

const Record *bench_records(const Bench *bench) { return bench->records.data(); }

void bench_destroy(Bench *bench) { delete bench; }
}
#pragma GCC visibility pop
