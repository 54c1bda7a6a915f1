// The numbers of sampling, each the same as in the sampler of the host, bit for bit: weights, ranks, random words. Compiled
// without fused multiply-add and with IEEE division.
#pragma once

#include "numeric.cuh"

namespace sampler {

// e^x for x <= 0, by the operations of the host's `exp`.
DEVICE float exponential(float x) {
    const float clamped = fmaxf(x, -87.0f);
    const float power = rintf(clamped * 1.44269504088896340736f);
    const float rest = clamped - power * (355.0f / 512.0f) - power * -2.1219444e-4f;
    float series = 1.0f / 5040.0f;
    series = series * rest + 1.0f / 720.0f;
    series = series * rest + 1.0f / 120.0f;
    series = series * rest + 1.0f / 24.0f;
    series = series * rest + 1.0f / 6.0f;
    series = series * rest + 0.5f;
    series = series * rest + 1.0f;
    series = series * rest + 1.0f;
    const float scale = bits_float(static_cast<uint32_t>(static_cast<int>(power) + 127) << 23);
    return x < -87.0f ? 0.0f : series * scale;
}

// A token's weight in units of 2^-39. The scaling is exact and the conversion rounds down.
DEVICE uint64_t weight_of(float logit, float greatest, float temperature) {
    return static_cast<uint64_t>(exponential((logit - greatest) / temperature) * 549755813888.0f);
}

// A token's rank is a number: lower for a greater logit, then for a lower id. 32 bits of logit stand above 21 bits of id.
constexpr int ID_BITS = 21;
constexpr int RANK_BITS = 32 + ID_BITS;
constexpr uint64_t ID_MASK = (1ull << ID_BITS) - 1;

DEVICE uint64_t rank_of(float logit, uint64_t id) {
    const uint32_t bits = float_bits(logit);
    // The two zeros are one logit.
    const uint32_t ordered = bits == 0x80000000u ? 0 : bits;
    const uint32_t descending = ordered >> 31 ? ordered : ordered ^ 0x7fffffffu;
    return static_cast<uint64_t>(descending) << ID_BITS | id;
}

DEVICE uint32_t id_of(uint64_t rank) { return static_cast<uint32_t>(rank & ID_MASK); }

DEVICE float logit_of(uint64_t rank) {
    const uint32_t descending = static_cast<uint32_t>(rank >> ID_BITS);
    return bits_float(descending >> 31 ? descending : descending ^ 0x7fffffffu);
}

// The last rank of tokens whose logit is at least this.
DEVICE uint64_t last_rank(float logit) { return rank_of(logit, ID_MASK); }

// The first word of Philox 2x64 with 10 rounds.
DEVICE uint64_t random_word(uint64_t key, uint64_t left, uint64_t right) {
    for (int round = 0; round < 10; ++round) {
        const uint64_t upper = high_product(left, 0xD2B74407B1CE6E93ull), lower = left * 0xD2B74407B1CE6E93ull;
        left = upper ^ key ^ right;
        right = lower;
        key += 0x9E3779B97F4A7C15ull;
    }
    return left;
}

}  // namespace sampler
