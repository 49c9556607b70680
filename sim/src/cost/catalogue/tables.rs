//! The rows of the catalogue, each figure with its source.
//!
//! Sources: *EC2* = karpenter-provider-aws, generated tables of 21 Aug 2026 (vCPU, memory, GPU memory, network, NVMe);
//! *NVIDIA* = NVIDIA's data sheet of the GPU; *CUDA* = total memory in messages of PyTorch on that GPU, where different
//! drivers differ by up to 1 %.

use super::{Fp4, Fp8, Gpu, Instance, Pcie, PeerLink, Price};

/// GiB in hundredths, as PyTorch prints a GPU's memory, in bytes.
const fn centi_gib(hundredths: u64) -> u64 {
    (hundredths << 30) / 100
}

/// NVIDIA A10G (g5).
///
/// Its compute figure is disputed: 125 TFLOPS is printed in many tables, but that is the A10's; NVIDIA's sheet lists 70
/// dense for the A10**G**. We take 70: AWS measured a 7B fp16 prefill of 2,500 tokens on it in 774 ms, which is
/// 42 TFLOPS in the GEMMs, 60 % of 70 (the usual share) but 34 % of 125 (AWS ML blog, 12 Aug 2026).
pub const A10G: Gpu = Gpu {
    name: "A10G",
    memory_mib: 22_888,
    device_bytes: centi_gib(2_205), // CUDA: 22.03 to 22.15 GiB
    bandwidth_gb_per_s: 600.0,
    bf16_tflops: 70.0,
    fp8: Fp8::WeightOnly, // compute capability 8.6
    fp4: Fp4::WeightOnly,
    host_link: Pcie::Gen4,
    peer_link: PeerLink::Host,
};

/// NVIDIA L40S (g6e). NVIDIA: 864 GB/s, 362 TFLOPS dense.
pub const L40S: Gpu = Gpu {
    name: "L40S",
    memory_mib: 45_776,
    device_bytes: centi_gib(4_439), // CUDA: 44.34 to 44.52 GiB
    bandwidth_gb_per_s: 864.0,
    bf16_tflops: 362.0,
    fp8: Fp8::Native,
    fp4: Fp4::WeightOnly,
    host_link: Pcie::Gen4,
    peer_link: PeerLink::Host,
};

/// NVIDIA A100 SXM 40 GB (p4d). NVIDIA: 1,555 GB/s, 312 TFLOPS, NVLink 600 GB/s both ways.
pub const A100_40: Gpu = Gpu {
    name: "A100-40",
    memory_mib: 40_960,
    device_bytes: centi_gib(3_945), // CUDA: 39.38 to 39.56 GiB
    bandwidth_gb_per_s: 1_555.0,
    bf16_tflops: 312.0,
    fp8: Fp8::WeightOnly, // compute capability 8.0
    fp4: Fp4::WeightOnly,
    host_link: Pcie::Gen4,
    peer_link: PeerLink::NvSwitch { gb_per_s: 300.0 },
};

/// NVIDIA A100 SXM 80 GB (p4de). NVIDIA: 2,039 GB/s, else as the 40 GB one.
pub const A100_80: Gpu = Gpu {
    name: "A100-80",
    memory_mib: 81_920,
    device_bytes: centi_gib(7_915), // CUDA: 79.14 to 79.35 GiB
    bandwidth_gb_per_s: 2_039.0,
    ..A100_40
};

/// NVIDIA H100 SXM (p5). NVIDIA: 3,350 GB/s, 989 TFLOPS dense, NVLink 900 GB/s both ways.
pub const H100: Gpu = Gpu {
    name: "H100",
    memory_mib: 81_920,
    device_bytes: centi_gib(7_911), // CUDA: 79.10 to 79.33 GiB
    bandwidth_gb_per_s: 3_350.0,
    bf16_tflops: 989.0,
    fp8: Fp8::Native,
    fp4: Fp4::WeightOnly,
    host_link: Pcie::Gen5,
    peer_link: PeerLink::NvSwitch { gb_per_s: 450.0 },
};

/// NVIDIA H200 SXM (p5e, p5en): an H100 with more and faster memory. NVIDIA: 4,800 GB/s.
pub const H200: Gpu = Gpu {
    name: "H200",
    memory_mib: 144_384,
    device_bytes: centi_gib(13_980), // CUDA: 139.72 to 139.81 GiB
    bandwidth_gb_per_s: 4_800.0,
    ..H100
};

/// NVIDIA B200 SXM (p6-b200). NVIDIA's sheets of HGX and DGX B200: 8 TB/s, 4,500 TFLOPS with sparsity in BF16 and so 2,250
/// without, twice that in FP8 and four times that in FP4, NVLink 1,800 GB/s both ways.
pub const B200: Gpu = Gpu {
    name: "B200",
    memory_mib: 183_359,
    device_bytes: centi_gib(17_835), // CUDA: 178.35 GiB
    bandwidth_gb_per_s: 8_000.0,
    bf16_tflops: 2_250.0,
    fp8: Fp8::Native,
    fp4: Fp4::Native,
    host_link: Pcie::Gen5,
    peer_link: PeerLink::NvSwitch { gb_per_s: 900.0 },
};

/// NVIDIA GeForce RTX 4090, which no instance has: layer profiles were measured on it. NVIDIA: 1,008 GB/s, 165.2 TFLOPS dense with
/// FP32 accumulation.
pub const RTX_4090: Gpu = Gpu {
    name: "RTX 4090",
    memory_mib: 24_564,
    device_bytes: centi_gib(2_352), // CUDA: 23.5 to 23.6 GiB
    bandwidth_gb_per_s: 1_008.0,
    bf16_tflops: 165.2,
    fp8: Fp8::Native,
    fp4: Fp4::WeightOnly,
    host_link: Pcie::Gen4,
    peer_link: PeerLink::Host,
};

/// A SageMaker price of us-east-1, as public code copied the list on 27 Sep 2026. It agrees with AWS's samples (g5,
/// g6e) and with the Pricing API of 12 Sep 2026 (p4d, p5) wherever those give a figure.
const fn listed(usd_per_hour: f64) -> Price {
    Price { usd_per_hour, source: "SageMaker on-demand list, us-east-1", date: "2026-09-27", derived: false }
}

/// SageMaker asks 1.15 times EC2's price for the p family wherever both are known (p4d, p4de, p5).
const P_RATIO: f64 = 1.15;

/// Every instance podlab knows, by family and size.
pub static INSTANCES: [Instance; 15] = [
    row("g5.xlarge", 4, 16, 1, A10G, 10.0, 250, listed(1.41)),
    row("g5.4xlarge", 16, 64, 1, A10G, 10.0, 600, listed(2.03)),
    row("g5.12xlarge", 48, 192, 4, A10G, 40.0, 3_800, listed(7.09)),
    row("g5.24xlarge", 96, 384, 4, A10G, 50.0, 3_800, listed(10.18)),
    row("g5.48xlarge", 192, 768, 8, A10G, 100.0, 7_600, listed(20.36)),
    row("g6e.4xlarge", 16, 128, 1, L40S, 20.0, 600, listed(3.76)),
    row("g6e.12xlarge", 48, 384, 4, L40S, 100.0, 3_800, listed(13.12)),
    row("g6e.24xlarge", 96, 768, 4, L40S, 200.0, 3_800, listed(18.83)),
    row("g6e.48xlarge", 192, 1_536, 8, L40S, 400.0, 7_600, listed(37.66)),
    row("p4d.24xlarge", 96, 1_152, 8, A100_40, 400.0, 8_000, listed(25.251_3)),
    row("p4de.24xlarge", 96, 1_152, 8, A100_80, 400.0, 8_000, listed(31.564_1)),
    row("p5.48xlarge", 192, 2_048, 8, H100, 3_200.0, 30_400, listed(63.296)),
    row("p5e.48xlarge", 192, 2_048, 8, H200, 3_200.0, 30_400, P5E_PRICE),
    row("p5en.48xlarge", 192, 2_048, 8, H200, 3_200.0, 30_400, P5EN_PRICE),
    row("p6-b200.48xlarge", 192, 2_048, 8, B200, 3_200.0, 30_720, P6_B200_PRICE),
];

/// No list has it on demand; AWS's sample notebook says "about 80".
const P5E_PRICE: Price =
    Price { usd_per_hour: 80.0, source: "about 80 in an AWS sample", date: "2026-11-22", derived: true };

/// EC2's price in us-east-1, us-east-2 and us-west-2, times the ratio of the family.
const P5EN_PRICE: Price = Price {
    usd_per_hour: 63.296 * P_RATIO,
    source: "EC2 on-demand, us-east-1, times 1.15",
    date: "2026-08-06",
    derived: true,
};

/// EC2's price in us-east-1 and us-east-2, as public lists copied it, times the ratio of the family.
const P6_B200_PRICE: Price = Price {
    usd_per_hour: 113.932_8 * P_RATIO,
    source: "EC2 on-demand, us-east-1, times 1.15",
    date: "2026-11-27",
    derived: true,
};

/// One row, in the order of AWS's own table.
#[expect(clippy::too_many_arguments, reason = "a table reads best in columns")]
const fn row(
    name: &'static str,
    vcpus: u32,
    memory_gib: u64,
    gpus: u32,
    gpu: Gpu,
    network_gbps: f64,
    nvme_gb: u64,
    price: Price,
) -> Instance {
    Instance { name, vcpus, memory_gib, gpus, gpu, network_gbps, nvme_gb, price }
}
