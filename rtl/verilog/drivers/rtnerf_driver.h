/* A driver of the RT-NeRF accelerator, for any bus: the caller says how a register is read and written.
 *
 *     struct rtnerf_bus bus = {my_read, my_write, my_context};
 *     if (rtnerf_check(&bus)) ...                        // another design, or another configuration
 *     rtnerf_place(&bus, scene, frame, lists);           // byte addresses in the accelerator's memory
 *     rtnerf_view(&bus, view);                           // a view's registers, in the order of their addresses
 *     rtnerf_start(&bus);
 *     enum rtnerf_error error = rtnerf_wait(&bus, tries);
 *
 * The scene image goes into memory whole, as `rtnerf encode` writes it. Pixels come out row by row, 8 bytes each. */
#ifndef RTNERF_DRIVER_H
#define RTNERF_DRIVER_H

#include "rtnerf.h"

#include <stdint.h>

struct rtnerf_bus {
  uint32_t (*read)(void *context, uint32_t address);
  void (*write)(void *context, uint32_t address, uint32_t value);
  void *context;
};

/* Where a frame's time went. */
struct rtnerf_counters {
  uint64_t cycles;
  uint32_t samples, shaded, cubes, read_beats;
};

enum { RTNERF_STILL_BUSY = -1 };

static inline uint32_t rtnerf_read(const struct rtnerf_bus *bus, uint32_t address) {
  return bus->read(bus->context, address);
}

static inline void rtnerf_write(const struct rtnerf_bus *bus, uint32_t address, uint32_t value) {
  bus->write(bus->context, address, value);
}

/* 0, or 1: not this design, or 2: not the configuration that this header is for. */
static inline int rtnerf_check(const struct rtnerf_bus *bus) {
  if (rtnerf_read(bus, RTNERF_IDENTITY) != RTNERF_IDENTITY_VALUE)
    return 1;
  return rtnerf_read(bus, RTNERF_CONFIG_DIGEST) != RTNERF_CONFIG_DIGEST_VALUE ? 2 : 0;
}

static inline void rtnerf_address(const struct rtnerf_bus *bus, uint32_t low, uint64_t address) {
  rtnerf_write(bus, low, (uint32_t)address);
  rtnerf_write(bus, low + 4, (uint32_t)(address >> 32));
}

/* Where the scene image is, where pixels go, and working memory for the lists of cubes. */
static inline void rtnerf_place(const struct rtnerf_bus *bus, uint64_t scene, uint64_t frame, uint64_t lists) {
  rtnerf_address(bus, RTNERF_SCENE_LOW, scene);
  rtnerf_address(bus, RTNERF_FRAME_LOW, frame);
  rtnerf_address(bus, RTNERF_LIST_LOW, lists);
}

static inline void rtnerf_view(const struct rtnerf_bus *bus, const uint32_t view[RTNERF_VIEW_WORDS]) {
  for (uint32_t word = 0; word < RTNERF_VIEW_WORDS; word++)
    rtnerf_write(bus, RTNERF_VIEW + 4 * word, view[word]);
}

static inline void rtnerf_start(const struct rtnerf_bus *bus) {
  rtnerf_write(bus, RTNERF_STATUS, 0);
  rtnerf_write(bus, RTNERF_CONTROL, RTNERF_CONTROL_START);
}

/* Ask up to `tries` times whether the frame has ended: RTNERF_ERROR_NONE, why not, or RTNERF_STILL_BUSY. */
static inline int rtnerf_wait(const struct rtnerf_bus *bus, uint32_t tries) {
  while (tries--) {
    uint32_t status = rtnerf_read(bus, RTNERF_STATUS);
    if (status & RTNERF_STATUS_DONE)
      return (int)((status & RTNERF_STATUS_CODE) / (RTNERF_STATUS_CODE & -RTNERF_STATUS_CODE));
  }
  return RTNERF_STILL_BUSY;
}

static inline struct rtnerf_counters rtnerf_counters(const struct rtnerf_bus *bus) {
  struct rtnerf_counters counters;
  counters.cycles = rtnerf_read(bus, RTNERF_CYCLES_LOW);
  counters.cycles |= (uint64_t)rtnerf_read(bus, RTNERF_CYCLES_HIGH) << 32;
  counters.samples = rtnerf_read(bus, RTNERF_SAMPLES);
  counters.shaded = rtnerf_read(bus, RTNERF_SHADED);
  counters.cubes = rtnerf_read(bus, RTNERF_CUBES);
  counters.read_beats = rtnerf_read(bus, RTNERF_READ_BEATS);
  return counters;
}

#endif
