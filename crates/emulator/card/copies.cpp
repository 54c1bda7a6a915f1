// Copies and fills in the order of a stream. Page-locked memory of the host is read and written when the copy runs; any other is
// read at the call, and has been written when the call returns.
#include "card.hpp"

#include <cstring>

using namespace card;

namespace {

void* host(CUdeviceptr address) { return reinterpret_cast<void*>(address); }

CUresult copy_to_card(Card& card, CUdeviceptr target, const void* source, size_t bytes) {
    expose(card);
    if (!mapped_range(target, bytes)) return CUDA_ERROR_ILLEGAL_ADDRESS;
    std::memcpy(host(target), source, bytes);
    return CUDA_SUCCESS;
}

CUresult copy_from_card(Card& card, void* target, CUdeviceptr source, size_t bytes) {
    expose(card);
    if (!mapped_range(source, bytes)) return CUDA_ERROR_ILLEGAL_ADDRESS;
    std::memcpy(target, host(source), bytes);
    return CUDA_SUCCESS;
}

CUresult copy_between(CUdeviceptr target, CUdeviceptr source, size_t bytes) {
    if (!mapped_range(source, bytes) || !mapped_range(target, bytes)) return CUDA_ERROR_ILLEGAL_ADDRESS;
    std::vector<unsigned char> between(bytes);
    const CUresult result = copy_from_card(*find(source)->card, between.data(), source, bytes);
    return result != CUDA_SUCCESS ? result : copy_to_card(*find(target)->card, target, between.data(), bytes);
}

CUresult put_copy_between(CUdeviceptr target, CUdeviceptr source, size_t bytes, CUstream handle) {
    return call([&](Card&) {
        const auto stream = stream_of(handle);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        if (!named_range(target, bytes) || !named_range(source, bytes)) return CUDA_ERROR_INVALID_VALUE;
        return put_from_anywhere(*stream, Operation{"a copy from card to card", [=] { return copy_between(target, source, bytes); }, nullptr});
    });
}

}  // namespace

CUresult cuMemcpyHtoDAsync(CUdeviceptr target, const void* source, size_t bytes, CUstream handle) {
    return call([&](Card&) {
        const auto stream = stream_of(handle);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        if (!named_range(target, bytes)) return CUDA_ERROR_INVALID_VALUE;
        Card* const owner = stream->card;
        if (is_page_locked(source)) {
            return put_from_anywhere(*stream, Operation{"a copy to the card",
                                          [=] { return copy_to_card(*owner, target, source, bytes); }, nullptr});
        }
        if (stream->capture) {
            stream->capture->invalidated = true;
            return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
        const auto* first = static_cast<const unsigned char*>(source);
        const auto kept = std::make_shared<std::vector<unsigned char>>(first, first + bytes);
        return put_from_anywhere(*stream, Operation{"a copy to the card",
                                      [=] { return copy_to_card(*owner, target, kept->data(), bytes); }, nullptr});
    });
}

CUresult cuMemcpyDtoHAsync(void* target, CUdeviceptr source, size_t bytes, CUstream handle) {
    return call([&](Card&) {
        const auto stream = stream_of(handle);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        if (!named_range(source, bytes)) return CUDA_ERROR_INVALID_VALUE;
        const bool later = is_page_locked(target);
        if (!later && stream->capture) {
            stream->capture->invalidated = true;
            return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
        Card* const owner = stream->card;
        const CUresult result = put_from_anywhere(*stream, Operation{"a copy from the card",
                                                       [=] { return copy_from_card(*owner, target, source, bytes); },
                                                       nullptr});
        return result != CUDA_SUCCESS || later ? result : run_until(*stream, stream->submitted);
    });
}

CUresult cuMemcpyDtoDAsync(CUdeviceptr target, CUdeviceptr source, size_t bytes, CUstream handle) {
    return put_copy_between(target, source, bytes, handle);
}

CUresult cuMemcpyPeerAsync(CUdeviceptr target, CUcontext, CUdeviceptr source, CUcontext, size_t bytes, CUstream handle) {
    return put_copy_between(target, source, bytes, handle);
}

CUresult cuMemsetD8Async(CUdeviceptr target, unsigned char value, size_t bytes, CUstream handle) {
    return call([&](Card&) {
        const auto stream = stream_of(handle);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        if (!named_range(target, bytes)) return CUDA_ERROR_INVALID_VALUE;
        Card* const owner = stream->card;
        return put_from_anywhere(*stream, Operation{"filling memory", [=] {
                                          expose(*owner);
                                          if (!mapped_range(target, bytes)) return CUDA_ERROR_ILLEGAL_ADDRESS;
                                          std::memset(host(target), value, bytes);
                                          return CUDA_SUCCESS;
                                      },
                                      nullptr});
    });
}
