//! Instances, their GPUs and their prices.
//!
//! Figures are per direction where a link has two, decimal (GB = 10^9 bytes) where vendors count so, and binary where
//! the name says MiB or GiB.

mod tables; // the rows

pub use tables::{A10G, A100_40, A100_80, B200, H100, H200, INSTANCES, L40S, RTX_4090};

/// What a GPU can do at most. Nothing reaches these figures: [`roofline`](super::roofline) says how near one comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gpu {
    /// The name by which people ask for it: `H100`.
    pub name: &'static str,
    /// Memory in MiB, as EC2's `DescribeInstanceTypes` reports it.
    pub memory_mib: u64,
    /// Memory in bytes that CUDA reports, which is what vLLM's `gpu_memory_utilization` is a fraction of: 0.2 to 3 %
    /// less than EC2 reports, since the driver and ECC take their share first.
    pub device_bytes: u64,
    /// Memory bandwidth in GB/s.
    pub bandwidth_gb_per_s: f64,
    /// Matrix throughput in TFLOPS for BF16 and FP16 inputs with FP32 accumulation, without sparsity.
    pub bf16_tflops: f64,
    /// Whether matrices of FP8 multiply at twice the BF16 rate.
    pub fp8: Fp8,
    /// Whether matrices of NVFP4 multiply at four times the BF16 rate.
    pub fp4: Fp4,
    /// The link to host memory.
    pub host_link: Pcie,
    /// The link to the other GPUs of the instance.
    pub peer_link: PeerLink,
}

impl Gpu {
    /// Bytes that EC2 reports for one GPU.
    #[must_use]
    pub const fn memory_bytes(&self) -> u64 {
        self.memory_mib << 20
    }
}

/// What a GPU makes of FP8 weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fp8 {
    /// Tensor cores multiply FP8 (compute capability 8.9 and up), at twice the BF16 rate.
    Native,
    /// Weights are stored in FP8 and widened before they are multiplied (vLLM's Marlin kernels).
    WeightOnly,
}

/// What a GPU makes of NVFP4 weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fp4 {
    /// Tensor cores multiply NVFP4 (compute capability 10.0 and up), at four times the BF16 rate.
    Native,
    /// Weights are stored in NVFP4 and widened before they are multiplied (vLLM's Marlin kernels).
    WeightOnly,
}

/// The generation of a GPU's 16-lane PCI Express link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pcie {
    /// 16 GT/s a lane.
    Gen4,
    /// 32 GT/s a lane.
    Gen5,
}

impl Pcie {
    /// Peak GB/s in one direction: 16 lanes at 128b/130b line coding (PCI Express Base Specification 4.0 and 5.0).
    #[must_use]
    pub const fn gb_per_s(self) -> f64 {
        match self {
            Self::Gen4 => 31.5,
            Self::Gen5 => 63.0,
        }
    }
}

/// How the GPUs of an instance reach each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PeerLink {
    /// Through the host: g5 and g6e have no NVLink, and their GPUs exchange data through host memory.
    Host,
    /// NVLink through NVSwitch, all to all.
    NvSwitch {
        /// Peak GB/s of one GPU in one direction: half of the figure that NVIDIA prints.
        gb_per_s: f64,
    },
}

/// What an hour of an instance costs on demand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// US dollars per hour.
    pub usd_per_hour: f64,
    /// Where the figure was read.
    pub source: &'static str,
    /// The day it was read or generated, `YYYY-MM-DD`.
    pub date: &'static str,
    /// Whether it was computed from another list, and so is a guess at the SageMaker price.
    pub derived: bool,
}

/// A kind of instance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Instance {
    /// The EC2 name, without SageMaker's `ml.`: `p5.48xlarge`.
    pub name: &'static str,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Host memory in GiB.
    pub memory_gib: u64,
    /// How many GPUs it has.
    pub gpus: u32,
    /// What each of them is.
    pub gpu: Gpu,
    /// Nominal network bandwidth in Gbit/s.
    pub network_gbps: f64,
    /// Local NVMe in GB.
    pub nvme_gb: u64,
    /// On-demand price as a SageMaker (`ml.`) instance.
    pub price: Price,
}

impl Instance {
    /// The name SageMaker gives it: `ml.p5.48xlarge`.
    #[must_use]
    pub fn sagemaker_name(&self) -> alloc::string::String {
        alloc::format!("ml.{}", self.name)
    }
}

/// The instance of this name, with or without `ml.`, in any case.
///
/// `None` for a name that is not in [`names`]; a caller can offer the nearest of those.
#[must_use]
pub fn find(name: &str) -> Option<&'static Instance> {
    let name = name.trim();
    let name = match name.get(..3) {
        Some(prefix) if prefix.eq_ignore_ascii_case("ml.") => &name[3..],
        _ => name,
    };
    INSTANCES.iter().find(|instance| instance.name.eq_ignore_ascii_case(name))
}

/// The names that [`find`] knows, without `ml.`, in the order of the table.
pub fn names() -> impl Iterator<Item = &'static str> {
    INSTANCES.iter().map(|instance| instance.name)
}

/// Every GPU podlab knows, those that no instance has last.
pub fn gpus() -> impl Iterator<Item = Gpu> {
    [A10G, L40S, A100_40, A100_80, H100, H200, B200, RTX_4090].into_iter()
}
