// An emulated card: what the files of the fake driver share. Everything runs on the host, but late: what is put into a stream waits
// until somebody waits for it or chance lets it run, so that a missing wait shows as a wrong number. One lock guards it all.
#pragma once

#include <cuda.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace card {

struct Card;
struct Stream;

// Memory of a card. Its pages can be touched only between the moments at which the stream reaches the allocation and the free.
struct Allocation {
    Card* card;
    uintptr_t address;
    size_t bytes;
    uintptr_t first_page;
    size_t page_bytes;
    // Whether the host may still name it: from the call that allocates to the call that frees.
    bool named = true;
    // Whether the stream is between allocation and free.
    bool mapped = false;
    // Whether a graph allocates it; the host may free it only if the graph does not.
    bool of_graph = false;
};

// Something that a stream does when its turn comes.
struct Operation {
    const char* what;
    std::function<CUresult()> run;
    // Another stream that must have come to a position before.
    std::shared_ptr<Stream> awaited;
    uint64_t position = 0;
};

// What a capture or a graph consists of.
struct Graph {
    Card* card;
    std::vector<Operation> operations;
    std::vector<std::shared_ptr<Allocation>> allocations;
    // Allocations that the graph itself frees.
    std::vector<Allocation*> freed;
    // Bytes allocated at the same time, now and at most.
    size_t bytes = 0, most_bytes = 0;
    bool invalidated = false;
};

struct Stream {
    Card* card;
    std::deque<Operation> queue;
    uint64_t submitted = 0, finished = 0;
    std::shared_ptr<Graph> capture;
};

struct Event {
    Card* card;
    std::shared_ptr<Stream> stream;
    uint64_t position = 0;
    bool captured = false;
};

struct Card {
    int ordinal = 0;
    bool retained = false;
    size_t total_bytes = 0, used_bytes = 0;
    // The largest of the graphs that were instantiated: they take turns with the same memory.
    size_t graph_bytes = 0;
    uintptr_t region = 0, next_page = 0;
    std::map<uintptr_t, std::shared_ptr<Allocation>> allocations;
    std::vector<std::shared_ptr<Stream>> streams;
    // The fault after which every call fails.
    CUresult lost = CUDA_SUCCESS;
};

// A kernel of a module: how its arguments lie, and what it was compiled for.
struct Parameter {
    size_t offset, bytes;
};

struct Kernel {
    std::string name;
    std::vector<Parameter> parameters;
    // Zero where the image does not say.
    unsigned int registers = 0, most_threads = 0;
    int most_shared_bytes = 48 * 1024;
};

// state.cpp
extern std::vector<Card>& cards;
extern thread_local Card* current;
uint64_t setting(const char* name, uint64_t otherwise);
uint64_t chance(uint64_t below);
void say(const char* format, ...) __attribute__((format(printf, 1, 2)));
// Runs a call of the driver under the lock, with a current card that is not lost, after chance has let some work run.
CUresult call(const std::function<CUresult(Card&)>& body);
// The same for calls that need no card.
CUresult call_without_card(const std::function<CUresult()>& body);

// stream.cpp
std::shared_ptr<Stream> stream_of(CUstream handle);
// Only launches ask that the stream be the current card's; memory and copies may be put into any stream.
CUresult put(Stream& stream, Operation operation);
CUresult put_from_anywhere(Stream& stream, Operation operation);
CUresult run_until(Stream& stream, uint64_t position);
CUresult run_all(Card& card);
void run_some(Card& card);
// An error for a call that a capture does not survive, if one is under way on the card.
CUresult refuse_while_capturing(Card& card);

// fault.cpp
CUresult guarded(const char* what, const std::function<CUresult()>& run);

// memory.cpp
Allocation* find(uintptr_t address);
bool named_range(uintptr_t address, size_t bytes);
bool mapped_range(uintptr_t address, size_t bytes);
bool is_page_locked(const void* host);
void expose(Card& card);
std::shared_ptr<Allocation> reserve(Card& card, size_t bytes);
CUresult map(Allocation& allocation);
CUresult unmap(Allocation& allocation);
size_t free_bytes(const Card& card);

// image.cpp
std::vector<Kernel> kernels_of(const void* image);

// candle.cpp: candle's own kernels, by name. `arguments` begins with the first parameter, each where the kernel says.
using CandleKernel = void (*)(const Kernel& kernel, const unsigned char* arguments);
CandleKernel candle_kernel(const std::string& name);

}  // namespace card

extern "C" {
// What the other libraries put into a stream: `run` is called with a copy of the bytes.
CUresult sconce_card_enqueue(CUstream stream, const char* what, void (*run)(const void*), const void* bytes, size_t size);
}
