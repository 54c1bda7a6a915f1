// A kernel or a copy that touches memory which it must not is a fault of the card, not the end of the process.
#include "card.hpp"

#include <csetjmp>
#include <csignal>
#include <cstring>

namespace card {

namespace {

sigjmp_buf place;
volatile sig_atomic_t armed = 0;
void* volatile touched = nullptr;
struct sigaction before_segv, before_bus, before_ill;

void on_fault(int number, siginfo_t* info, void*) {
    if (!armed) {
        // Not ours: whoever handled it before handles it when the instruction runs again.
        sigaction(SIGSEGV, &before_segv, nullptr);
        sigaction(SIGBUS, &before_bus, nullptr);
        sigaction(SIGILL, &before_ill, nullptr);
        return;
    }
    armed = 0;
    touched = info->si_addr;
    siglongjmp(place, number);
}

bool install() {
    struct sigaction action;
    std::memset(&action, 0, sizeof(action));
    action.sa_sigaction = on_fault;
    // Kernels run on small stacks of their own; the signal is handled on the thread's own spare one.
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &action, &before_segv);
    sigaction(SIGBUS, &action, &before_bus);
    sigaction(SIGILL, &action, &before_ill);
    return true;
}

}  // namespace

CUresult guarded(const char* what, const std::function<CUresult()>& run) {
    static const bool installed = install();
    (void)installed;
    const int number = sigsetjmp(place, 0);
    if (number == SIGILL) {
        say("%s reads or writes at an address that is not a multiple of the size", what);
        return CUDA_ERROR_MISALIGNED_ADDRESS;
    }
    if (number != 0) {
        say("%s touches %p, where nothing is allocated", what, touched);
        return CUDA_ERROR_ILLEGAL_ADDRESS;
    }
    armed = 1;
    const CUresult result = run();
    armed = 0;
    return result;
}

}  // namespace card
