// Number formats: bf16 and f16 to float and back, loads and stores of whatever type a tensor has.
#pragma once

#include "platform.cuh"

BOTH uint32_t float_bits(float value) {
#ifdef __CUDA_ARCH__
    return __float_as_uint(value);
#else
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
#endif
}

BOTH float bits_float(uint32_t bits) {
#ifdef __CUDA_ARCH__
    return __uint_as_float(bits);
#else
    float value;
    memcpy(&value, &bits, 4);
    return value;
#endif
}

// The upper half of a float.
struct Bf16 {
    uint16_t bits;
};

// IEEE half precision.
struct F16 {
    uint16_t bits;
};

BOTH float to_float(float value) { return value; }

BOTH float to_float(Bf16 value) { return bits_float(static_cast<uint32_t>(value.bits) << 16); }

BOTH float to_float(F16 value) {
#ifdef __CUDA_ARCH__
    float result;
    asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
    return result;
#else
    const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
    const uint32_t exponent = (value.bits >> 10) & 31u, mantissa = value.bits & 1023u;
    if (exponent == 31) return bits_float(sign | 0x7f800000u | mantissa << 13);
    if (exponent != 0) return bits_float(sign | (exponent + 112) << 23 | mantissa << 13);
    // A subnormal: mantissa × 2^-24, exact in a float.
    const float magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-8f;
    return sign ? -magnitude : magnitude;
#endif
}

// Rounds to nearest, ties to even; a NaN stays one.
BOTH void from_float(float value, float& result) { result = value; }

BOTH void from_float(float value, Bf16& result) {
    const uint32_t bits = float_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        result.bits = static_cast<uint16_t>(bits >> 16 | 0x40u);
    } else {
        result.bits = static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
    }
}

BOTH void from_float(float value, F16& result) {
#ifdef __CUDA_ARCH__
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
#else
    const uint32_t bits = float_bits(value), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        result.bits = static_cast<uint16_t>(sign | 0x7e00u);
    } else if (magnitude >= 0x477ff000u) {
        // From 65520 on everything rounds to infinity.
        result.bits = static_cast<uint16_t>(sign | 0x7c00u);
    } else if (magnitude >= 0x38800000u) {
        const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
        result.bits = static_cast<uint16_t>(sign | (rounded - 0x38000000u) >> 13);
    } else {
        // Subnormal: let the addition of a fitting power of two do the rounding.
        const float shifted = bits_float(magnitude) + 0.5f;
        result.bits = static_cast<uint16_t>(sign | (float_bits(shifted) - 0x3f000000u));
    }
#endif
}

template <typename T>
BOTH T rounded(float value) {
    T result;
    from_float(value, result);
    return result;
}

// Neighbours that are loaded and stored at once: their address is a multiple of their size, or of 16 bytes if that is smaller.
template <typename T, int COUNT>
struct alignas(sizeof(T) * COUNT < 16 ? sizeof(T) * COUNT : 16) Pack {
    T items[COUNT];
};

// How many numbers of a type one load of 16 bytes brings.
template <typename T>
constexpr int PACK = 16 / static_cast<int>(sizeof(T));
