// Captures and graphs: what would be queued is kept instead, and queued again at every launch, with the same addresses.
#include "card.hpp"

#include <algorithm>

using namespace card;

namespace {

// Never destroyed: a thread may still use the card while the process ends.
auto& graphs = *new std::map<CUgraph, std::shared_ptr<Graph>>;
auto& executables = *new std::map<CUgraphExec, std::shared_ptr<Graph>>;

// A graph that both of its owners have given up: its addresses mean nothing from now on.
void forget(const std::shared_ptr<Graph>& graph) {
    for (const auto& allocation : graph->allocations) allocation->named = false;
}

// Queues one launch: what the graph allocates and does not free belongs to the host afterwards.
CUresult queue_again(Graph& graph, Stream& stream) {
    for (const auto& allocation : graph.allocations) {
        const bool freed = std::find(graph.freed.begin(), graph.freed.end(), allocation.get()) != graph.freed.end();
        if (freed) continue;
        if (allocation->named) {
            say("a graph is launched again before what it allocated is freed");
            return CUDA_ERROR_INVALID_VALUE;
        }
        allocation->named = true;
    }
    for (const Operation& operation : graph.operations) {
        const CUresult result = put(stream, operation);
        if (result != CUDA_SUCCESS) return result;
    }
    return CUDA_SUCCESS;
}

}  // namespace

CUresult cuStreamBeginCapture(CUstream handle, CUstreamCaptureMode) {
    return call([&](Card& card) {
        const auto stream = stream_of(handle);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        if (stream->capture) return CUDA_ERROR_ILLEGAL_STATE;
        stream->capture = std::make_shared<Graph>();
        stream->capture->card = &card;
        return CUDA_SUCCESS;
    });
}

CUresult cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus* status) {
    return call([&](Card&) {
        const auto stream = stream_of(handle);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        *status = !stream->capture                  ? CU_STREAM_CAPTURE_STATUS_NONE
                  : stream->capture->invalidated ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                                 : CU_STREAM_CAPTURE_STATUS_ACTIVE;
        return CUDA_SUCCESS;
    });
}

CUresult cuStreamEndCapture(CUstream handle, CUgraph* made) {
    return call([&](Card&) {
        const auto stream = stream_of(handle);
        if (!stream) return CUDA_ERROR_INVALID_HANDLE;
        if (!stream->capture) return CUDA_ERROR_ILLEGAL_STATE;
        const auto graph = std::move(stream->capture);
        stream->capture = nullptr;
        *made = nullptr;
        if (graph->invalidated) {
            forget(graph);
            return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        }
        // What was not freed in the capture can be freed only after a launch has allocated it.
        for (const auto& allocation : graph->allocations) allocation->named = false;
        *made = reinterpret_cast<CUgraph>(graph.get());
        graphs[*made] = graph;
        return CUDA_SUCCESS;
    });
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec* made, CUgraph handle, unsigned long long) {
    return call([&](Card& card) {
        const auto found = graphs.find(handle);
        if (found == graphs.end()) return CUDA_ERROR_INVALID_VALUE;
        Graph& graph = *found->second;
        const size_t more = graph.most_bytes > card.graph_bytes ? graph.most_bytes - card.graph_bytes : 0;
        if (more > free_bytes(card)) return CUDA_ERROR_OUT_OF_MEMORY;
        card.graph_bytes += more;
        // A handle of its own: the graph may be destroyed before what was made from it.
        *made = reinterpret_cast<CUgraphExec>(new unsigned char);
        executables[*made] = found->second;
        return CUDA_SUCCESS;
    });
}

CUresult cuGraphLaunch(CUgraphExec handle, CUstream stream_handle) {
    return call([&](Card& card) {
        const auto found = executables.find(handle);
        const auto stream = stream_of(stream_handle);
        if (found == executables.end() || !stream) return CUDA_ERROR_INVALID_HANDLE;
        if (found->second->card != &card) return CUDA_ERROR_INVALID_VALUE;
        if (stream->capture) return CUDA_ERROR_NOT_SUPPORTED;
        return queue_again(*found->second, *stream);
    });
}

CUresult cuGraphDestroy(CUgraph handle) {
    return call([&](Card&) { return graphs.erase(handle) == 1 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE; });
}

CUresult cuGraphExecDestroy(CUgraphExec handle) {
    return call([&](Card&) {
        const auto found = executables.find(handle);
        if (found == executables.end()) return CUDA_ERROR_INVALID_VALUE;
        delete reinterpret_cast<unsigned char*>(handle);
        executables.erase(found);
        return CUDA_SUCCESS;
    });
}
