//! The table of ggml element types: their ids in a file, names, and sizes. No reading here.

use sconce_kernels::WeightType;

/// The types that tensors may have here, with their ids in a file (ggml.h, `enum ggml_type`).
const SUPPORTED: [(u32, &str, WeightType); 13] = [
    (0, "F32", WeightType::F32),
    (1, "F16", WeightType::F16),
    (2, "Q4_0", WeightType::Q4_0),
    (3, "Q4_1", WeightType::Q4_1),
    (6, "Q5_0", WeightType::Q5_0),
    (7, "Q5_1", WeightType::Q5_1),
    (8, "Q8_0", WeightType::Q8_0),
    (10, "Q2_K", WeightType::Q2K),
    (11, "Q3_K", WeightType::Q3K),
    (12, "Q4_K", WeightType::Q4K),
    (13, "Q5_K", WeightType::Q5K),
    (14, "Q6_K", WeightType::Q6K),
    (30, "BF16", WeightType::BF16),
];

/// Names of types that exist elsewhere, or did once, so that the error can say more than a number.
const UNSUPPORTED: [(u32, &str); 30] = [
    (4, "Q4_2"),
    (5, "Q4_3"),
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (31, "Q4_0_4_4"),
    (32, "Q4_0_4_8"),
    (33, "Q4_0_8_8"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (36, "IQ4_NL_4_4"),
    (37, "IQ4_NL_4_8"),
    (38, "IQ4_NL_8_8"),
    (39, "MXFP4"),
    (40, "NVFP4"),
    (41, "Q1_0"),
    (42, "Q2_0"),
];

/// The weight type of an id, if the kernels compute with it.
#[must_use]
pub fn weight_type_of(id: u32) -> Option<WeightType> {
    SUPPORTED.iter().find(|entry| entry.0 == id).map(|entry| entry.2)
}

/// The id of a weight type in a file.
#[must_use]
pub fn type_id(weight_type: WeightType) -> u32 {
    // Every weight type stands in the table; a test walks it, so the fallback is never taken.
    SUPPORTED.iter().find(|entry| entry.2 == weight_type).map_or(u32::MAX, |entry| entry.0)
}

/// The name that people use for an id, or "unknown".
#[must_use]
pub fn type_name(id: u32) -> &'static str {
    let supported = SUPPORTED.iter().find(|entry| entry.0 == id).map(|entry| entry.1);
    let named = || UNSUPPORTED.iter().find(|entry| entry.0 == id).map(|entry| entry.1);
    supported.or_else(named).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_types_lead_back_to_each_other() {
        for (id, name, weight_type) in SUPPORTED {
            assert_eq!(weight_type_of(id), Some(weight_type));
            assert_eq!(type_id(weight_type), id);
            assert_eq!(type_name(id), name);
        }
        for (id, name) in UNSUPPORTED {
            assert_eq!(weight_type_of(id), None);
            assert_eq!(type_name(id), name);
        }
        assert_eq!(type_name(99), "unknown");
    }
}
