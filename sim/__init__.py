"""The cycle-accurate simulator: one timing model a block, named as in the RTL, with the values of `nerf.golden`.

A simulated cycle has two phases. First every block whose valid is combinational, or that feeds a block that also feeds
it, *offers* what it has. Then all blocks *step* once, consumers before producers: a stream record holds what its
producer offers in this cycle; the consumer takes it by clearing ``valid``, and the producer, which steps later in the
same cycle, finds its register free and may fill it for the next cycle. So the hardware's ``~o.valid | o.ready`` reads
``not o.valid`` here, and all of a cycle's decisions are taken on what stood in the registers at its beginning.

Every step returns the cycle in which the block can next do something by itself; when that lies ahead for all, the
cycles between are skipped: nothing happens in them.
"""
