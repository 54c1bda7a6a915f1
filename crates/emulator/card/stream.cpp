// Streams and events: work is queued, and runs when somebody waits for it.
#include "card.hpp"

#include <algorithm>
#include <set>

namespace card {

namespace {

// Never destroyed: a thread may still use the card while the process ends.
auto& events = *new std::map<CUevent, std::shared_ptr<Event>>;

std::shared_ptr<Event> event_of(CUevent handle) {
    const auto found = events.find(handle);
    return found == events.end() ? nullptr : found->second;
}

}  // namespace

std::shared_ptr<Stream> stream_of(CUstream handle) {
    for (Card& card : cards) {
        for (const auto& stream : card.streams) {
            if (reinterpret_cast<CUstream>(stream.get()) == handle) return stream;
        }
    }
    return nullptr;
}

CUresult put(Stream& stream, Operation operation) {
    if (stream.card != current) {
        say("%s: the stream is of card %d, but card %d is current", operation.what, stream.card->ordinal, current->ordinal);
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    return put_from_anywhere(stream, std::move(operation));
}

CUresult put_from_anywhere(Stream& stream, Operation operation) {
    if (stream.card->lost != CUDA_SUCCESS) return stream.card->lost;
    if (stream.capture) {
        if (stream.capture->invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        stream.capture->operations.push_back(std::move(operation));
        return CUDA_SUCCESS;
    }
    stream.queue.push_back(std::move(operation));
    ++stream.submitted;
    return CUDA_SUCCESS;
}

CUresult run_until(Stream& stream, uint64_t position) {
    Card& card = *stream.card;
    while (stream.finished < position) {
        const Operation operation = std::move(stream.queue.front());
        stream.queue.pop_front();
        if (operation.awaited) run_until(*operation.awaited, operation.position);
        // What stands behind a fault never runs.
        if (operation.run && card.lost == CUDA_SUCCESS) {
            card.lost = guarded(operation.what, operation.run);
            if (card.lost != CUDA_SUCCESS) say("card %d is lost: %s", card.ordinal, operation.what);
        }
        ++stream.finished;
    }
    return card.lost;
}

CUresult run_all(Card& card) {
    for (const auto& stream : card.streams) run_until(*stream, stream->submitted);
    return card.lost;
}

void run_some(Card& card) {
    if (card.streams.empty()) return;
    Stream& stream = *card.streams[chance(card.streams.size())];
    const uint64_t pending = stream.submitted - stream.finished;
    if (pending > 0) run_until(stream, stream.finished + 1 + chance(std::min<uint64_t>(pending, 40)));
}

CUresult refuse_while_capturing(Card& card) {
    CUresult result = CUDA_SUCCESS;
    for (const auto& stream : card.streams) {
        if (!stream->capture) continue;
        stream->capture->invalidated = true;
        result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return result;
}

}  // namespace card

using namespace card;

CUresult cuStreamCreate(CUstream* made, unsigned int flags) {
    if (!made || flags > CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
    return call([&](Card& card) {
        auto stream = std::make_shared<Stream>();
        stream->card = &card;
        *made = reinterpret_cast<CUstream>(stream.get());
        card.streams.push_back(std::move(stream));
        return CUDA_SUCCESS;
    });
}

CUresult cuStreamDestroy(CUstream handle) {
    return call([&](Card&) {
        const auto stream = stream_of(handle);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        auto& streams = stream->card->streams;
        // The work in it still runs. Nobody could wait for it any more, so that it is done now.
        const CUresult result = run_until(*stream, stream->submitted);
        streams.erase(std::find(streams.begin(), streams.end(), stream));
        return result;
    });
}

CUresult cuStreamSynchronize(CUstream handle) {
    return call([&](Card&) {
        const auto stream = stream_of(handle);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        if (stream->capture) {
            stream->capture->invalidated = true;
            return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
        return run_until(*stream, stream->submitted);
    });
}

CUresult cuStreamQuery(CUstream handle) {
    return call([&](Card&) {
        const auto stream = stream_of(handle);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        return stream->finished == stream->submitted ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
    });
}

CUresult cuCtxSynchronize() {
    return call([](Card& card) {
        const CUresult refused = refuse_while_capturing(card);
        return refused != CUDA_SUCCESS ? refused : run_all(card);
    });
}

CUresult cuEventCreate(CUevent* made, unsigned int) {
    if (!made) return CUDA_ERROR_INVALID_VALUE;
    return call([&](Card& card) {
        auto event = std::make_shared<Event>();
        event->card = &card;
        *made = reinterpret_cast<CUevent>(event.get());
        events[*made] = std::move(event);
        return CUDA_SUCCESS;
    });
}

CUresult cuEventDestroy(CUevent handle) {
    return call([&](Card&) { return events.erase(handle) == 1 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE; });
}

CUresult cuEventRecord(CUevent handle, CUstream stream_handle) {
    return call([&](Card&) {
        const auto event = event_of(handle);
        const auto stream = stream_of(stream_handle);
        if (!event || !stream || event->card != stream->card) return CUDA_ERROR_INVALID_HANDLE;
        event->stream = stream;
        event->captured = stream->capture != nullptr;
        event->position = stream->submitted;
        return CUDA_SUCCESS;
    });
}

CUresult cuEventSynchronize(CUevent handle) {
    return call([&](Card&) {
        const auto event = event_of(handle);
        if (!event) return CUDA_ERROR_INVALID_HANDLE;
        if (event->captured) return CUDA_ERROR_CAPTURED_EVENT;
        return event->stream ? run_until(*event->stream, event->position) : CUDA_SUCCESS;
    });
}

CUresult cuEventQuery(CUevent handle) {
    return call([&](Card&) {
        const auto event = event_of(handle);
        if (!event) return CUDA_ERROR_INVALID_HANDLE;
        if (event->captured) return CUDA_ERROR_CAPTURED_EVENT;
        const bool done = !event->stream || event->stream->finished >= event->position;
        return done ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
    });
}

CUresult cuStreamWaitEvent(CUstream stream_handle, CUevent handle, unsigned int) {
    return call([&](Card&) {
        const auto stream = stream_of(stream_handle);
        const auto event = event_of(handle);
        if (!event || !stream) return CUDA_ERROR_INVALID_HANDLE;
        if (!event->stream) return CUDA_SUCCESS;
        if (stream->capture && !event->captured) {
            stream->capture->invalidated = true;
            return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
        }
        if (stream->capture || event->captured) return CUDA_ERROR_NOT_SUPPORTED;
        return put(*stream, Operation{"waiting for an event", nullptr, event->stream, event->position});
    });
}

extern "C" CUresult sconce_card_enqueue(CUstream handle, const char* what, void (*run)(const void*), const void* bytes,
                                        size_t size) {
    return call([&](Card& card) {
        const auto stream = stream_of(handle);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        const auto* first = static_cast<const unsigned char*>(bytes);
        auto kept = std::make_shared<std::vector<unsigned char>>(first, first + size);
        return put(*stream, Operation{what, [run, kept, &card] {
                                          expose(card);
                                          run(kept->data());
                                          return CUDA_SUCCESS;
                                      },
                                      nullptr});
    });
}
