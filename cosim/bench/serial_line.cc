// A board in a simulator: its serial line is this program's standard input and output. Ends with its input.
#include "Vulx3s.h"
#include "verilated.h"
#include <cstdlib>
#include <fcntl.h>
#include <unistd.h>

static const int BITS = 10;

int main(int argc, char **argv) {
  Verilated::commandArgs(argc, argv);
  Vulx3s board;
  const int divisor = atoi(argv[1]);
  board.ftdi_txd = 1;
  board.btn_fire = 0;
  unsigned sent = 0, received = 0;
  int sending = 0, send_ticks = 0, receiving = 0, receive_ticks = 0, waits = 0;
  fcntl(0, F_SETFL, O_NONBLOCK);
  for (;;) {
    // To the board: a start bit, eight bits, a stop bit.
    if (sending) {
      if (++send_ticks == divisor) {
        send_ticks = 0;
        sent >>= 1;
        sending--;
        board.ftdi_txd = sending ? sent & 1 : 1;
      }
    } else if (board.led & 1 && --waits < 0) {  // Out of reset.
      unsigned char byte;
      const ssize_t count = read(0, &byte, 1);
      if (count == 0) return 0;
      if (count == 1) {
        sent = 1u << (BITS - 1) | byte << 1;
        sending = BITS;
        send_ticks = 0;
        board.ftdi_txd = 0;
      } else {
        waits = divisor * BITS;  // Nothing there: ask again a byte's time later.
      }
    }
    board.clk_25mhz = 1;
    board.eval();
    board.clk_25mhz = 0;
    board.eval();
    if (receiving) {
      if (++receive_ticks == divisor) {
        receive_ticks = 0;
        received = received >> 1 | (unsigned)board.ftdi_rxd << (BITS - 1);
        if (--receiving == 0) {
          const unsigned char byte = received >> 1;
          if (!(received >> (BITS - 1)) || write(1, &byte, 1) != 1) return 1;
        }
      }
    } else if (!board.ftdi_rxd && board.led & 1) {
      receiving = BITS;
      receive_ticks = divisor - 1 - divisor / 2;
      received = 0;
    }
  }
}
