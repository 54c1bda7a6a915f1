// The cards, the lock, and chance. A call of the driver goes through here.
#include "card.hpp"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>

namespace card {

// Never destroyed: a thread may still use the card while the process ends.
std::vector<Card>& cards = *new std::vector<Card>;
thread_local Card* current = nullptr;

namespace {

std::mutex turn;
uint64_t random_state = 0;
// Calls until the card changes its mood, and whether it works by itself until then.
uint64_t mood_calls = 0;
bool busy = false;

}  // namespace

uint64_t setting(const char* name, uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text && *text ? std::strtoull(text, nullptr, 10) : otherwise;
}

uint64_t chance(uint64_t below) {
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (random_state >> 33) % below;
}

void say(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    std::fputs("emulated card: ", stderr);
    std::vfprintf(stderr, format, arguments);
    std::fputc('\n', stderr);
    va_end(arguments);
}

// A card is now and then quick and now and then far behind.
static void let_some_run() {
    if (mood_calls == 0) {
        mood_calls = 1 + chance(400);
        busy = chance(2) == 0;
    }
    --mood_calls;
    if (busy && chance(4) == 0) run_some(cards[chance(cards.size())]);
}

CUresult call(const std::function<CUresult(Card&)>& body) {
    const std::lock_guard<std::mutex> lock(turn);
    if (cards.empty()) return CUDA_ERROR_NOT_INITIALIZED;
    if (!current) return CUDA_ERROR_INVALID_CONTEXT;
    if (current->lost != CUDA_SUCCESS) return current->lost;
    let_some_run();
    return body(*current);
}

CUresult call_without_card(const std::function<CUresult()>& body) {
    const std::lock_guard<std::mutex> lock(turn);
    return body();
}

}  // namespace card

using namespace card;

CUresult cuInit(unsigned int flags) {
    if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
    return call_without_card([] {
        if (!cards.empty()) return CUDA_SUCCESS;
        random_state = setting("SCONCE_EMULATED_SEED", 1);
        const uint64_t count = setting("SCONCE_EMULATED_CARDS", 1);
        if (count == 0) return CUDA_ERROR_NO_DEVICE;
        cards.resize(count);
        for (uint64_t i = 0; i < count; ++i) {
            cards[i].ordinal = static_cast<int>(i);
            cards[i].total_bytes = setting("SCONCE_EMULATED_MEMORY", 1ull << 30);
        }
        return CUDA_SUCCESS;
    });
}
