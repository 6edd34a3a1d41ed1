"""From interpolated appearance to the network: pair each visible sample with its view direction, round its products."""

from amaranth.hdl import Module, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import COMPONENTS, AcceleratorConfig
from nerf.contract.formats import ACTIVATION, PRODUCT
from nerf.contract.scene_image import PAIRS
from rtl.payloads import Direction, LookUp, ProductVector, TileLayouts

RoundedVector = data.ArrayLayout(data.ArrayLayout(signed(ACTIVATION.width), COMPONENTS), len(PAIRS))
"""Appearance products rounded to integers, as the basis takes them, [pair][component]."""


class Appearance(wiring.Component):
    """Make shading jobs of the appearance interpolator's samples.

    Rules
    -----
    - Each sample becomes a job with the direction of its pixel (of no meaning for ``last``), in order.
    - Each vector is rounded: (product + 128) >> 8. The two streams do not wait for each other.

    Latency: `LATENCY` cycle from a sample to its job; 0 for the vectors.
    Throughput: one sample and one vector a cycle.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    i_sample, i_vector : In(stream)
        Visible samples, and a `ProductVector` per component group for each that is not ``last``.
    direction : Out(LookUp)
        View directions by pixel.
    o_job, o_products : Out(stream)
        Jobs, and as many `RoundedVector` for each that is not ``last``.
    """

    LATENCY = 1

    def __init__(self, cfg: AcceleratorConfig) -> None:
        layouts = TileLayouts(cfg)
        super().__init__(
            {
                "i_sample": In(stream.Signature(layouts.VisibleSample)),
                "i_vector": In(stream.Signature(ProductVector)),
                "direction": Out(LookUp(layouts.pixel, Direction)),
                "o_job": Out(stream.Signature(layouts.ShadeJob)),
                "o_products": Out(stream.Signature(RoundedVector)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the look-up and the rounding."""
        m = Module()
        sample, job = self.i_sample.payload, self.o_job.payload
        advance = ~self.o_job.valid | self.o_job.ready
        m.d.comb += [
            self.direction.address.eq(sample.pixel),
            self.direction.enable.eq(self.i_sample.valid & advance),
            self.i_sample.ready.eq(advance),
            job.direction.eq(self.direction.data),
        ]
        with m.If(advance):
            m.d.sync += [
                self.o_job.valid.eq(self.i_sample.valid),
                job.pixel.eq(sample.pixel),
                job.weight.eq(sample.weight),
                job.last.eq(sample.last),
            ]

        m.d.comb += [
            self.o_products.valid.eq(self.i_vector.valid),
            self.i_vector.ready.eq(self.o_products.ready),
        ]
        for rounded_pair, pair in zip(self.o_products.payload, self.i_vector.payload, strict=True):
            for rounded, product in zip(rounded_pair, pair, strict=True):
                m.d.comb += rounded.eq((product + (1 << PRODUCT.fraction >> 1)) >> PRODUCT.fraction)
        return m
