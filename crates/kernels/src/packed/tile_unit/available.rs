//! Whether there is a tile unit that this process may use.

#![allow(unsafe_code)]

use std::arch::x86_64::__cpuid_count;
use std::sync::LazyLock;

/// Whether the processor has the unit, and the system lets this process use it.
pub(in crate::packed) fn is_available() -> bool {
    static IS_AVAILABLE: LazyLock<bool> = LazyLock::new(|| has_unit() && may_use());
    *IS_AVAILABLE
}

/// Bits 24 (tiles) and 25 (products of bytes) of the extended features.
fn has_unit() -> bool {
    const TILES_OF_BYTES: u32 = 3 << 24;
    __cpuid_count(7, 0).edx & TILES_OF_BYTES == TILES_OF_BYTES
}

/// The registers are large: Linux keeps them for processes that have asked. It refuses where it does not know them.
#[cfg(target_os = "linux")]
fn may_use() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const REQUEST_PERMISSION: i64 = 0x1023;
    const TILE_DATA: i64 = 18;
    let outcome: i64;
    // SAFETY: the call takes two numbers and writes no memory of ours; the kernel changes rax, rcx and r11.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => outcome, in("rdi") REQUEST_PERMISSION, in("rsi") TILE_DATA,
            lateout("rcx") _, lateout("r11") _, options(nostack),
        );
    }
    outcome == 0
}

#[cfg(not(target_os = "linux"))]
fn may_use() -> bool {
    false
}
