// Memory of cards, and page-locked memory of the host. Each allocation has pages of its own that are never used again, ends where
// they end, and is full of 0xFF (as floats: NaN) when the stream reaches it: what is used too early, too late or out of bounds shows.
#include "card.hpp"

#include <sys/mman.h>

#include <cstring>

namespace card {

namespace {

constexpr size_t PAGE = 4096;
constexpr size_t REGION = size_t{1} << 42;
// What an address of the driver is a multiple of.
constexpr size_t GRANULARITY = 256;
constexpr int POISON = 0xFF;

// Page-locked memory by its first byte.
// Never destroyed: a thread may still use the card while the process ends.
auto& page_locked = *new std::map<uintptr_t, size_t>;
// Whose memory may be touched now: a card does not reach into another's.
Card* exposed = nullptr;

size_t rounded_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

void protect(const Allocation& allocation, int protection) {
    mprotect(reinterpret_cast<void*>(allocation.first_page), allocation.page_bytes, protection);
}

bool is_poison(uintptr_t first, uintptr_t end) {
    for (uintptr_t at = first; at < end; ++at) {
        if (*reinterpret_cast<const unsigned char*>(at) != POISON) return false;
    }
    return true;
}

}  // namespace

Allocation* find(uintptr_t address) {
    for (Card& card : cards) {
        auto next = card.allocations.upper_bound(address);
        if (next == card.allocations.begin()) continue;
        Allocation& candidate = *std::prev(next)->second;
        if (address < candidate.address + candidate.bytes || address == candidate.address) return &candidate;
    }
    return nullptr;
}

static bool within(const Allocation* allocation, uintptr_t address, size_t bytes) {
    return allocation && address + bytes <= allocation->address + allocation->bytes;
}

bool named_range(uintptr_t address, size_t bytes) {
    const Allocation* allocation = find(address);
    return within(allocation, address, bytes) && allocation->named;
}

bool mapped_range(uintptr_t address, size_t bytes) {
    const Allocation* allocation = find(address);
    return within(allocation, address, bytes) && allocation->mapped;
}

bool is_page_locked(const void* host) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(host);
    auto next = page_locked.upper_bound(address);
    if (next == page_locked.begin()) return false;
    --next;
    return address < next->first + next->second;
}

void expose(Card& card) {
    if (exposed == &card) return;
    if (exposed) {
        for (const auto& entry : exposed->allocations) {
            if (entry.second->mapped) protect(*entry.second, PROT_NONE);
        }
    }
    for (const auto& entry : card.allocations) {
        if (entry.second->mapped) protect(*entry.second, PROT_READ | PROT_WRITE);
    }
    exposed = &card;
}

size_t free_bytes(const Card& card) {
    const size_t used = card.used_bytes + card.graph_bytes;
    return used < card.total_bytes ? card.total_bytes - used : 0;
}

std::shared_ptr<Allocation> reserve(Card& card, size_t bytes) {
    if (card.region == 0) {
        void* region = mmap(nullptr, REGION, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (region == MAP_FAILED) return nullptr;
        card.region = card.next_page = reinterpret_cast<uintptr_t>(region);
    }
    auto allocation = std::make_shared<Allocation>();
    allocation->card = &card;
    allocation->bytes = bytes;
    allocation->first_page = card.next_page;
    allocation->page_bytes = rounded_up(bytes, PAGE);
    allocation->address = allocation->first_page + allocation->page_bytes - rounded_up(bytes, GRANULARITY);
    // A page behind it that nobody may touch.
    if (allocation->page_bytes + PAGE > card.region + REGION - card.next_page) return nullptr;
    card.next_page += allocation->page_bytes + PAGE;
    card.allocations[allocation->address] = allocation;
    return allocation;
}

CUresult map(Allocation& allocation) {
    if (allocation.mapped) return CUDA_ERROR_ILLEGAL_ADDRESS;
    expose(*allocation.card);
    protect(allocation, PROT_READ | PROT_WRITE);
    std::memset(reinterpret_cast<void*>(allocation.first_page), POISON, allocation.page_bytes);
    allocation.mapped = true;
    return CUDA_SUCCESS;
}

CUresult unmap(Allocation& allocation) {
    if (!allocation.mapped) return CUDA_ERROR_ILLEGAL_ADDRESS;
    expose(*allocation.card);
    const uintptr_t end = allocation.address + allocation.bytes;
    const bool intact = is_poison(allocation.first_page, allocation.address) &&
                        is_poison(end, allocation.first_page + allocation.page_bytes);
    if (!intact) say("something was written beside an allocation of %zu bytes", allocation.bytes);
    madvise(reinterpret_cast<void*>(allocation.first_page), allocation.page_bytes, MADV_DONTNEED);
    protect(allocation, PROT_NONE);
    allocation.mapped = false;
    return intact ? CUDA_SUCCESS : CUDA_ERROR_ILLEGAL_ADDRESS;
}

namespace {

// Frees in the stream's order; afterwards nothing is known of the address.
Operation free_operation(std::shared_ptr<Allocation> allocation) {
    return Operation{"freeing memory", [allocation] {
                         const CUresult result = unmap(*allocation);
                         if (!allocation->of_graph) allocation->card->allocations.erase(allocation->address);
                         return result;
                     },
                     nullptr};
}

CUresult allocate(Card& card, CUdeviceptr* address, size_t bytes, Stream* stream) {
    if (!address || bytes == 0) {
        say("an allocation of %zu bytes is refused", bytes);
        return CUDA_ERROR_INVALID_VALUE;
    }
    Graph* graph = stream ? stream->capture.get() : nullptr;
    if (!graph && bytes > free_bytes(card)) return CUDA_ERROR_OUT_OF_MEMORY;
    const auto allocation = reserve(card, bytes);
    if (!allocation) return CUDA_ERROR_OUT_OF_MEMORY;
    *address = allocation->address;
    if (!stream) {
        card.used_bytes += bytes;
        return map(*allocation);
    }
    if (graph) {
        allocation->of_graph = true;
        graph->allocations.push_back(allocation);
        graph->bytes += bytes;
        if (graph->bytes > graph->most_bytes) graph->most_bytes = graph->bytes;
    } else {
        card.used_bytes += bytes;
    }
    return put_from_anywhere(*stream, Operation{"allocating memory", [allocation] { return map(*allocation); }, nullptr});
}

CUresult free_in_capture(Stream& stream, Allocation& allocation) {
    Graph& graph = *stream.capture;
    for (const auto& own : graph.allocations) {
        if (own.get() != &allocation || !own->named) continue;
        own->named = false;
        graph.freed.push_back(own.get());
        graph.bytes -= own->bytes;
        return put_from_anywhere(stream, free_operation(own));
    }
    return CUDA_ERROR_INVALID_VALUE;
}

}  // namespace

}  // namespace card

using namespace card;

CUresult cuMemAlloc(CUdeviceptr* address, size_t bytes) {
    return call([&](Card& card) { return allocate(card, address, bytes, nullptr); });
}

CUresult cuMemAllocAsync(CUdeviceptr* address, size_t bytes, CUstream handle) {
    return call([&](Card&) {
        const auto stream = stream_of(handle);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        return allocate(*stream->card, address, bytes, stream.get());
    });
}

CUresult cuMemFree(CUdeviceptr address) {
    return call([&](Card& card) {
        Allocation* allocation = find(address);
        if (!allocation || allocation->address != address || !allocation->named) return CUDA_ERROR_INVALID_VALUE;
        const CUresult result = run_all(card);
        if (result != CUDA_SUCCESS) return result;
        allocation->named = false;
        card.used_bytes -= allocation->bytes;
        return free_operation(card.allocations.at(address)).run();
    });
}

CUresult cuMemFreeAsync(CUdeviceptr address, CUstream handle) {
    return call([&](Card&) {
        const auto stream = stream_of(handle);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        Card& card = *stream->card;
        Allocation* allocation = find(address);
        if (!allocation || allocation->address != address) return CUDA_ERROR_INVALID_VALUE;
        if (stream->capture) return free_in_capture(*stream, *allocation);
        if (!allocation->named || allocation->card != &card) return CUDA_ERROR_INVALID_VALUE;
        allocation->named = false;
        if (!allocation->of_graph) card.used_bytes -= allocation->bytes;
        return put_from_anywhere(*stream, free_operation(card.allocations.at(address)));
    });
}

CUresult cuMemGetInfo(size_t* free, size_t* total) {
    return call([&](Card& card) {
        *free = free_bytes(card);
        *total = card.total_bytes;
        return CUDA_SUCCESS;
    });
}

CUresult cuMemHostAlloc(void** made, size_t bytes, unsigned int) {
    return call([&](Card&) {
        if (!made || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
        void* memory = mmap(nullptr, rounded_up(bytes, PAGE), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
        std::memset(memory, POISON, rounded_up(bytes, PAGE));
        page_locked[reinterpret_cast<uintptr_t>(memory)] = bytes;
        *made = memory;
        return CUDA_SUCCESS;
    });
}

CUresult cuMemFreeHost(void* memory) {
    return call([&](Card&) {
        const auto found = page_locked.find(reinterpret_cast<uintptr_t>(memory));
        if (found == page_locked.end()) return CUDA_ERROR_INVALID_VALUE;
        // The pages stay taken and closed: a copy that still runs over them is a fault.
        mprotect(memory, rounded_up(found->second, PAGE), PROT_NONE);
        page_locked.erase(found);
        return CUDA_SUCCESS;
    });
}
