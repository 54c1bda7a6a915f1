// Draws one token from each row of logits, the very one that the host's sampler draws. One block for each row.
#include <cfloat>

#include "sampling.cuh"

namespace sampler {

constexpr uint32_t NONE = 0xffffffffu;
constexpr uint32_t TOP_LIMIT = 20;
constexpr int DIGIT_BITS = 11;
constexpr uint32_t BINS = 1u << DIGIT_BITS;

struct SamplingRow {
    uint64_t seed, position, choice;
    uint64_t top_p;            // in units of 2^-64; all ones: every token
    float temperature;         // 0: the most likely token
    float min_p_offset;        // added to the greatest logit; negative infinity: every token
    float repetition_penalty, presence_penalty, frequency_penalty;
    uint32_t logits_row;
    uint32_t adjusted_row;     // of the workspace; NONE: nothing is adjusted
    uint32_t top_k;            // at least 1
    uint32_t pending;          // a draw of the step before whose token counts as history; NONE: none
    uint32_t biases_start, biases_count;
    uint32_t history_start, history_count;
    uint32_t bans_start, bans_count;
    uint32_t logprobs;         // most likely tokens to report beside the one drawn; NONE: report nothing
};
static_assert(sizeof(SamplingRow) == 96, "no padding");

struct SamplingBias {
    uint32_t id;
    float bias;
};

struct SamplingCount {
    uint32_t id;
    uint32_t count;            // in the output
};

struct SamplingTop {
    uint32_t id;
    float logit;
};

enum SamplingStatus : uint32_t { DRAWN = 0, NOT_FINITE = 1, NOTHING_ALLOWED = 2 };

struct SamplingResult {
    uint64_t total;            // of all tokens' weights at temperature 1; 0 without log-probabilities
    uint32_t status;
    uint32_t token;            // NONE without one
    uint32_t bad_index;        // of the first logit that is not finite; NONE: all are
    float logit;               // of the token, or of the bad index, as the model gave it
    float greatest;            // as the model gave it
    uint32_t reported;         // entries of `top`; NONE: no log-probabilities
};
static_assert(sizeof(SamplingResult) == 32, "no padding");

struct SamplingArguments {
    const float* logits;           // [rows of logits, vocabulary]
    float* workspace;              // [adjusted rows, vocabulary]
    const SamplingRow* rows;       // [rows]
    const SamplingBias* biases;    // of all rows; the entries of a row by id, those of one id side by side
    const SamplingCount* history;  // of all rows; each id once in a row
    const uint32_t* bans;          // of all rows
    const uint32_t* drawn_before;  // [draws of the step before], not the buffer that is written
    SamplingResult* results;       // [rows]
    SamplingTop* top;              // [rows, top_stride]
    uint32_t* drawn;               // [rows]; NONE where nothing was drawn
    uint32_t vocabulary;           // 1 to 2^21
    uint32_t drawn_before_count;
    uint32_t top_stride;           // at least every row's `logprobs`
    uint32_t unused;
};

struct SamplingShared {
    uint64_t scratch[32], stretches[32];
    uint64_t ranks[TOP_LIMIT];
    uint64_t before;
    uint32_t bin, found;
    uint32_t lower[BINS], upper[BINS];
};
static_assert(sizeof(SamplingShared) == 17072, "as the launch says");

// Logits of a row whose rank is at most `last` may be drawn.
struct Candidates {
    const float* logits;
    uint32_t vocabulary;
    uint64_t last;
};

// Finds the best logit and the first that is not finite, and copies the row where it is to be adjusted.
struct Survey {
    uint64_t best;
    uint32_t bad;
};

DEVICE Survey survey(const float* logits, uint32_t vocabulary, float* copy, SamplingShared& shared) {
    uint64_t best = ~0ull, bad = NONE;
    for (uint32_t id = thread_x(); id < vocabulary; id += threads_x()) {
        const float logit = logits[id];
        if ((float_bits(logit) & 0x7f800000u) == 0x7f800000u && id < bad) bad = id;
        const uint64_t rank = rank_of(logit, id);
        if (rank < best) best = rank;
        if (copy != nullptr) copy[id] = logit;
    }
    return {block_least(best, shared.scratch), static_cast<uint32_t>(block_least(bad, shared.scratch))};
}

DEVICE float clamped(float logit) { return fminf(fmaxf(logit, -FLT_MAX), FLT_MAX); }

DEVICE float penalized(const SamplingRow& row, uint32_t count, float logit) {
    float value = logit > 0.0f ? logit / row.repetition_penalty : logit * row.repetition_penalty;
    if (count > 0) value -= row.presence_penalty + row.frequency_penalty * static_cast<float>(count);
    return clamped(value);
}

// Bias, penalties and bans, in this order. Gives the best token that is left.
DEVICE uint64_t adjust(const SamplingArguments& arguments, const SamplingRow& row, float* logits, SamplingShared& shared) {
    const uint32_t vocabulary = arguments.vocabulary, threads = threads_x();
    const SamplingBias* const biases = arguments.biases + row.biases_start;
    for (uint32_t i = thread_x(); i < row.biases_count; i += threads) {
        const uint32_t id = biases[i].id;
        if (id >= vocabulary || (i > 0 && biases[i - 1].id == id)) continue;
        float logit = logits[id];
        for (uint32_t j = i; j < row.biases_count && biases[j].id == id; ++j) logit = clamped(logit + biases[j].bias);
        logits[id] = logit;
    }
    if (thread_x() == 0) shared.found = 0;
    barrier();
    const uint32_t pending = row.pending < arguments.drawn_before_count ? arguments.drawn_before[row.pending] : NONE;
    for (uint32_t i = thread_x(); i < row.history_count; i += threads) {
        const SamplingCount entry = arguments.history[row.history_start + i];
        if (entry.id == pending) shared.found = 1;
        if (entry.id < vocabulary) {
            logits[entry.id] = penalized(row, entry.count + (entry.id == pending ? 1 : 0), logits[entry.id]);
        }
    }
    barrier();
    if (thread_x() == 0 && pending < vocabulary && shared.found == 0) logits[pending] = penalized(row, 1, logits[pending]);
    barrier();
    for (uint32_t i = thread_x(); i < row.bans_count; i += threads) {
        const uint32_t id = arguments.bans[row.bans_start + i];
        if (id < vocabulary) logits[id] = -INFINITY;
    }
    barrier();
    uint64_t best = ~0ull;
    for (uint32_t id = thread_x(); id < vocabulary; id += threads) {
        const uint64_t rank = rank_of(logits[id], id);
        if (rank < best) best = rank;
    }
    return block_least(best, shared.scratch);
}

// Each token counts one, and so many are wanted.
struct Counting {
    uint64_t count;
    DEVICE uint64_t weight(float) const { return 1; }
    DEVICE uint64_t wanted(uint64_t) const { return count; }
};

// Each token has its weight, and a part of them all is wanted.
struct Weighing {
    float greatest, temperature;
    uint64_t fraction;
    DEVICE uint64_t weight(float logit) const { return weight_of(logit, greatest, temperature); }
    DEVICE uint64_t wanted(uint64_t total) const {
        const uint64_t part = high_product(total, fraction);
        return part > 0 ? part : 1;
    }
};

// Adds to a bin that is two words: a card has no 64-bit addition in shared memory but one that tries until it succeeds.
DEVICE void add_to_bin(SamplingShared& shared, uint32_t bin, uint64_t weight) {
    const uint32_t part = static_cast<uint32_t>(weight);
    const uint32_t before = atomicAdd(&shared.lower[bin], part);
    const uint32_t carried = static_cast<uint32_t>(weight >> 32) + (before + part < part ? 1u : 0u);
    if (carried > 0) atomicAdd(&shared.upper[bin], carried);
}

DEVICE uint64_t bin_weight(const SamplingShared& shared, uint32_t bin) {
    return static_cast<uint64_t>(shared.upper[bin]) << 32 | shared.lower[bin];
}

// The rank at which the running sum of the measure, best token first, reaches what is wanted; the candidates' last where it
// never does. A radix select: each pass sums the measure by one digit of the rank and goes on in the bin that is met.
template <typename Measure>
DEVICE uint64_t select_last(const Candidates& candidates, const Measure& measure, SamplingShared& shared) {
    const uint32_t each = (BINS + threads_x() - 1) / threads_x();
    const uint32_t first = thread_x() * each < BINS ? thread_x() * each : BINS;
    const uint32_t end = first + each < BINS ? first + each : BINS;
    uint64_t wanted = 0, prefix = 0;
    int shift = RANK_BITS;
    while (shift > 0) {
        // The logit's 32 bits are three digits, the id's 21 bits are two.
        const int width = shift == ID_BITS + DIGIT_BITS - 1 || shift < DIGIT_BITS ? DIGIT_BITS - 1 : DIGIT_BITS;
        const int below = shift - width;
        barrier();
        for (uint32_t bin = thread_x(); bin < BINS; bin += threads_x()) shared.lower[bin] = shared.upper[bin] = 0;
        if (thread_x() == 0) shared.bin = NONE;
        barrier();
        for (uint32_t id = thread_x(); id < candidates.vocabulary; id += threads_x()) {
            const float logit = candidates.logits[id];
            const uint64_t rank = rank_of(logit, id);
            if (rank > candidates.last || rank >> shift != prefix) continue;
            const uint64_t weight = measure.weight(logit);
            if (weight > 0) add_to_bin(shared, static_cast<uint32_t>(rank >> below) & ((1u << width) - 1), weight);
        }
        barrier();
        uint64_t sum = 0;
        for (uint32_t bin = first; bin < end; ++bin) sum += bin_weight(shared, bin);
        const Scan<uint64_t> scan = block_scan(sum, shared.scratch);
        if (shift == RANK_BITS) wanted = measure.wanted(scan.total);
        if (scan.before < wanted && wanted <= scan.before + sum) {
            uint64_t before = scan.before;
            uint32_t bin = first;
            for (; before + bin_weight(shared, bin) < wanted; ++bin) before += bin_weight(shared, bin);
            shared.bin = bin;
            shared.before = before;
        }
        barrier();
        if (shared.bin == NONE) return candidates.last;
        wanted -= shared.before;
        prefix = prefix << width | shared.bin;
        shift = below;
        if (shift == ID_BITS) {
            // One logit is left. Where the last of its tokens is the one, their ids need no looking at.
            const uint64_t last = prefix << ID_BITS | ID_MASK;
            const uint64_t others = bin_weight(shared, shared.bin) - measure.weight(logit_of(last));
            if (wanted > others) return last < candidates.last ? last : candidates.last;
        }
    }
    return prefix;
}

// The first candidate, by id, at which the running sum of the weights is above the random word's part of their total. Each
// warp sums a stretch of the row; the stretch with the token is then walked by the whole block.
DEVICE uint32_t draw(const Candidates& candidates, const Weighing& weighing, uint64_t word, SamplingShared& shared) {
    const uint32_t threads = threads_x(), warps = threads / 32, warp = thread_x() / 32, vocabulary = candidates.vocabulary;
    const uint32_t stretch = (vocabulary + threads - 1) / threads * 32;
    const auto weight_at = [&](uint32_t id) -> uint64_t {
        const float logit = candidates.logits[id];
        return rank_of(logit, id) <= candidates.last ? weighing.weight(logit) : 0;
    };
    const auto end_of = [&](uint32_t index) { return (index + 1) * stretch < vocabulary ? (index + 1) * stretch : vocabulary; };
    uint64_t sum = 0;
    for (uint32_t id = warp * stretch + thread_x() % 32; id < end_of(warp); id += 32) sum += weight_at(id);
    sum = warp_sum(sum);
    if (thread_x() % 32 == 0) shared.stretches[warp] = sum;
    barrier();
    uint64_t total = 0, before = 0;
    for (uint32_t i = 0; i < warps; ++i) total += shared.stretches[i];
    const uint64_t target = high_product(total, word);
    uint32_t found = 0;
    while (found + 1 < warps && before + shared.stretches[found] <= target) before += shared.stretches[found++];
    const uint32_t end = end_of(found);
    for (uint32_t start = found * stretch; start < end && before <= target; start += threads) {
        const uint32_t id = start + thread_x();
        const uint64_t weight = id < end ? weight_at(id) : 0;
        const Scan<uint64_t> scan = block_scan(weight, shared.scratch);
        const uint64_t own = before + scan.before;
        if (own <= target && target < own + weight) shared.found = id;
        before += scan.total;
    }
    barrier();
    return shared.found;
}

// What the host needs for log-probabilities: the total of the model's own weights, and the best tokens with their logits.
DEVICE void report(const SamplingArguments& arguments, const SamplingRow& row, const float* raw, SamplingResult& result,
                   SamplingShared& shared) {
    Candidates all = {raw, arguments.vocabulary, last_rank(-FLT_MAX)};
    uint64_t sum = 0;
    for (uint32_t id = thread_x(); id < all.vocabulary; id += threads_x()) sum += weight_of(raw[id], result.greatest, 1.0f);
    result.total = block_scan(sum, shared.scratch).total;
    result.reported = row.logprobs < all.vocabulary ? row.logprobs : all.vocabulary;
    if (result.reported == 0) return;
    if (result.reported < all.vocabulary) all.last = select_last(all, Counting{result.reported}, shared);
    barrier();
    if (thread_x() == 0) shared.found = 0;
    barrier();
    for (uint32_t id = thread_x(); id < all.vocabulary; id += threads_x()) {
        const uint64_t rank = rank_of(raw[id], id);
        if (rank <= all.last) shared.ranks[atomicAdd(&shared.found, 1u)] = rank;
    }
    barrier();
    SamplingTop* const top = arguments.top + static_cast<size_t>(block_x()) * arguments.top_stride;
    for (uint32_t i = thread_x(); i < result.reported; i += threads_x()) {
        const uint64_t rank = shared.ranks[i];
        uint32_t place = 0;
        for (uint32_t j = 0; j < result.reported; ++j) place += shared.ranks[j] < rank ? 1 : 0;
        top[place] = {id_of(rank), raw[id_of(rank)]};
    }
}

// Draws from what bias, bans and penalties have left; NONE if that is nothing.
DEVICE uint32_t choose(const SamplingArguments& arguments, const SamplingRow& row, const float* raw, uint64_t best,
                       SamplingShared& shared) {
    const uint32_t vocabulary = arguments.vocabulary;
    const float* logits = raw;
    if (row.adjusted_row != NONE) {
        float* const adjusted = arguments.workspace + static_cast<size_t>(row.adjusted_row) * vocabulary;
        best = adjust(arguments, row, adjusted, shared);
        logits = adjusted;
    }
    if (best > last_rank(-FLT_MAX)) return NONE;
    if (row.temperature == 0.0f || row.top_k == 1) return id_of(best);
    const float greatest = logit_of(best);
    const float least = fmaxf(fminf(greatest + row.min_p_offset, greatest), -FLT_MAX);
    const Weighing weighing = {greatest, row.temperature, row.top_p};
    Candidates candidates = {logits, vocabulary, last_rank(least)};
    if (row.top_k < vocabulary) candidates.last = select_last(candidates, Counting{row.top_k}, shared);
    if (row.top_p != ~0ull) candidates.last = select_last(candidates, weighing, shared);
    return draw(candidates, weighing, random_word(row.seed, row.position, row.choice), shared);
}

DEVICE void sample(const SamplingArguments& arguments) {
    SHARED(SamplingShared, shared);
    const SamplingRow& row = arguments.rows[block_x()];
    const uint32_t vocabulary = arguments.vocabulary;
    const float* const raw = arguments.logits + static_cast<size_t>(row.logits_row) * vocabulary;
    float* const copy = row.adjusted_row == NONE ? nullptr
                                                 : arguments.workspace + static_cast<size_t>(row.adjusted_row) * vocabulary;
    const Survey seen = survey(raw, vocabulary, copy, *shared);
    SamplingResult result = {0, NOT_FINITE, NONE, seen.bad, 0.0f, 0.0f, NONE};
    if (seen.bad != NONE) {
        result.logit = raw[seen.bad];
    } else {
        result.greatest = logit_of(seen.best);
        result.token = choose(arguments, row, raw, seen.best, *shared);
        result.status = result.token == NONE ? NOTHING_ALLOWED : DRAWN;
        if (result.token != NONE) {
            result.logit = raw[result.token];
            if (row.logprobs != NONE) report(arguments, row, raw, result, *shared);
        }
    }
    if (thread_x() == 0) {
        arguments.results[block_x()] = result;
        arguments.drawn[block_x()] = result.token;
    }
}

}  // namespace sampler

KERNEL_WITHIN(1024, sampling, sampler::SamplingArguments) { sampler::sample(arguments); }
