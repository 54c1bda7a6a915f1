//! The value of `--devices`: the CPU, or CUDA devices by ordinal.

use std::fmt;
use std::str::FromStr;

use anyhow::Result;
use sconce_engine::{DeviceKind, Devices};
use sconce_model::Device;

/// What `--devices` is when it is not given.
pub(crate) const DEFAULT_DEVICES: &str = if cfg!(feature = "cuda") { "0" } else { "cpu" };

/// More than one machine has.
const MOST: usize = 16;

/// Devices in the order in which a token passes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeviceList {
    /// The CPU, in so many stages; more than one only shows that stages work.
    Cpu(usize),
    /// CUDA devices by ordinal, each once.
    Cuda(Vec<usize>),
}

impl DeviceList {
    /// What defaults depend on.
    pub(crate) fn kind(&self) -> DeviceKind {
        match self {
            Self::Cpu(_) => DeviceKind::Cpu,
            Self::Cuda(_) => DeviceKind::Cuda,
        }
    }

    /// The devices as they are named, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        match self {
            Self::Cpu(stages) => vec!["cpu".to_string(); *stages],
            Self::Cuda(ordinals) => ordinals.iter().map(usize::to_string).collect(),
        }
    }

    /// Opens the devices.
    pub(crate) fn open(&self) -> Result<Devices> {
        Ok(match self {
            Self::Cpu(stages) => Devices::new(vec![Device::Cpu; *stages])?,
            Self::Cuda(ordinals) => Devices::cuda(ordinals)?,
        })
    }
}

impl fmt::Display for DeviceList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(","))
    }
}

impl FromStr for DeviceList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<&str> = text.split(',').map(str::trim).collect();
        if names.len() > MOST {
            return Err(format!("{} devices are named, must be at most {MOST}", names.len()));
        }
        let stages = names.iter().filter(|name| name.eq_ignore_ascii_case("cpu")).count();
        if stages == names.len() {
            return Ok(Self::Cpu(stages));
        }
        if stages > 0 {
            return Err("a model lies on the CPU or on CUDA devices, not on both".into());
        }
        let mut ordinals = Vec::with_capacity(names.len());
        for name in names {
            let digits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
            let ordinal = name.parse::<usize>().ok().filter(|ordinal| digits && *ordinal < 256);
            let Some(ordinal) = ordinal else {
                return Err(format!("{name:?} is no device; write cpu, or CUDA devices as 0 or 0,1"));
            };
            if ordinals.contains(&ordinal) {
                return Err(format!("device {ordinal} is named twice"));
            }
            ordinals.push(ordinal);
        }
        Ok(Self::Cuda(ordinals))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_the_cpu_or_ordinals() {
        let read = |text: &str| text.parse::<DeviceList>();
        assert_eq!(read("cpu"), Ok(DeviceList::Cpu(1)));
        assert_eq!(read("cpu,CPU"), Ok(DeviceList::Cpu(2)));
        assert_eq!(read("0"), Ok(DeviceList::Cuda(vec![0])));
        assert_eq!(read("1, 0"), Ok(DeviceList::Cuda(vec![1, 0])));
        assert_eq!(read("1, 0").map(|list| list.to_string()), Ok("1,0".to_string()));
        assert_eq!(DeviceList::Cpu(2).to_string(), "cpu,cpu");
        for (wrong, why) in [
            ("", "is no device"),
            ("gpu", "is no device"),
            ("0,", "is no device"),
            ("-1", "is no device"),
            ("+1", "is no device"),
            ("0.5", "is no device"),
            ("cuda:0", "is no device"),
            ("256", "is no device"),
            ("99999999999999999999999", "is no device"),
            ("0,1,0", "device 0 is named twice"),
            ("0,cpu", "not on both"),
            ("0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16", "at most 16"),
        ] {
            let error = read(wrong).expect_err(wrong);
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn cuda_devices_need_a_build_with_cuda() {
        let error = DeviceList::Cuda(vec![0]).open().expect_err("refused").to_string();
        assert!(error.contains("--features cuda"), "{error}");
    }
}
