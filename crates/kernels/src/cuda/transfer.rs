//! Words that travel between host and card while the card computes: page-locked memory, used in turns, so that the next step's
//! inputs are written while those of the one before are still on their way.

use std::sync::Arc;

use candle_core::Device;
use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaSlice, CudaStream, PinnedHostSlice, result, sys};

use super::fault::driver_error;
use super::tensor::card;
use crate::error::{KernelError, Result};
use crate::indices::CardWords;
use crate::launch::DevicePointer;

/// Areas that are used in turns: one for the step that runs, one for the step that is prepared.
const TURNS: usize = 2;

/// Page-locked words with the event after which they may be touched again.
#[derive(Debug)]
struct Area {
    words: PinnedHostSlice<u32>,
    done: CudaEvent,
}

impl Area {
    #[allow(unsafe_code)]
    fn new(stream: &Arc<CudaStream>, capacity: usize, flags: u32) -> Result<Self> {
        let context = stream.context();
        let said = |error| driver_error(error, "allocating page-locked memory");
        // SAFETY: words have no invalid bit patterns, and what is not written is not read.
        let words = unsafe { context.alloc_pinned_with_flags::<u32>(capacity.max(1), flags) }.map_err(said)?;
        // A thread that waits sleeps instead of spinning: other threads serve clients meanwhile.
        let kind = sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC;
        Ok(Self { words, done: context.new_event(Some(kind)).map_err(said)? })
    }

    /// Waits until nothing is copied to or from these words any more.
    fn wait(&self) -> Result<()> {
        self.done.synchronize().map_err(|error| driver_error(error, "waiting for the card"))
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // The memory goes back to the system next. An error means that the card is lost, and with it the copy.
        let _ = self.wait();
    }
}

/// Words on their way to the card. What they are copied to stays at its address as long as it is large enough.
#[derive(Debug)]
pub(super) struct Upload {
    stream: Arc<CudaStream>,
    words: Arc<CudaSlice<u32>>,
    areas: [Area; TURNS],
    turn: usize,
    /// Whether recorded graphs read at the address.
    is_fixed: bool,
}

impl Upload {
    /// Room for so many words.
    ///
    /// # Errors
    /// When the memory cannot be had.
    pub(super) fn new(device: &Device, capacity: usize) -> std::result::Result<Self, KernelError> {
        Self::on_stream(card(device, "upload", "device")?.cuda_stream(), capacity)
    }

    fn on_stream(stream: Arc<CudaStream>, capacity: usize) -> Result<Self> {
        let capacity = capacity.max(1);
        let area = || Area::new(&stream, capacity, sys::CU_MEMHOSTALLOC_WRITECOMBINED);
        let areas = [area()?, area()?];
        let words = stream.alloc_zeros(capacity).map_err(|error| driver_error(error, "allocating an upload"))?;
        Ok(Self { stream, words: Arc::new(words), areas, turn: 0, is_fixed: false })
    }

    /// From now on it stays where it is, whatever is sent.
    pub(super) fn fix(&mut self) {
        self.is_fixed = true;
    }

    /// Copies words to the card in the order of its stream, and gives where they lie. It grows when it must, which moves it,
    /// unless it is fixed: then more words than there is room for are an error.
    ///
    /// # Errors
    /// What the driver reported.
    #[allow(unsafe_code)]
    pub(super) fn send(&mut self, parts: &[&[u32]]) -> Result<CardWords> {
        let length = parts.iter().map(|part| part.len()).sum();
        if length > self.words.len() {
            if self.is_fixed {
                let actual = self.words.len();
                return Err(KernelError::Length { operation: "upload", argument: "words", expected: length, actual });
            }
            *self = Self::on_stream(self.stream.clone(), usize::next_power_of_two(length))?;
        }
        let area = &mut self.areas[self.turn];
        self.turn = (self.turn + 1) % TURNS;
        area.wait()?;
        let said = |error| driver_error(error, "uploading");
        let staging = area.words.as_mut_slice().map_err(said)?;
        let mut start = 0;
        for part in parts {
            staging[start..start + part.len()].copy_from_slice(part);
            start += part.len();
        }
        let first = slice_address(&self.words, &self.stream);
        if length > 0 {
            // SAFETY: both sides hold `length` words. What still reads the old words was launched before into the same stream, and
            // nobody touches the staging area before `done`, which `wait` waits for.
            unsafe { result::memcpy_htod_async(first.0, &staging[..length], self.stream.cu_stream()) }.map_err(said)?;
            area.done.record(&self.stream).map_err(said)?;
        }
        Ok(CardWords { memory: self.words.clone(), first })
    }
}

/// Words on the card that kernels write and the host fetches.
#[derive(Debug)]
pub(super) struct Download {
    stream: Arc<CudaStream>,
    words: [CudaSlice<u32>; TURNS],
    areas: [Area; TURNS],
    turn: usize,
}

/// A fetch that was begun; it is waited for once, in the order of beginning.
#[derive(Debug)]
#[must_use]
pub(super) struct Fetch {
    turn: usize,
    length: usize,
}

impl Download {
    /// Room for so many words.
    ///
    /// # Errors
    /// When the memory cannot be had.
    pub(super) fn new(device: &Device, capacity: usize) -> std::result::Result<Self, KernelError> {
        let stream = card(device, "download", "device")?.cuda_stream();
        let said = |error| driver_error(error, "allocating a download");
        let words = || stream.alloc_zeros(capacity.max(1)).map_err(said);
        let words = [words()?, words()?];
        let areas = [Area::new(&stream, capacity, 0)?, Area::new(&stream, capacity, 0)?];
        Ok(Self { stream, words, areas, turn: 0 })
    }

    /// Where the kernels of the step that is being launched write.
    #[must_use]
    pub(super) fn target(&self) -> DevicePointer {
        slice_address(&self.words[self.turn], &self.stream)
    }

    /// Where those of the step before wrote.
    #[must_use]
    pub(super) fn previous(&self) -> DevicePointer {
        slice_address(&self.words[(self.turn + TURNS - 1) % TURNS], &self.stream)
    }

    /// The first words that were begun to be copied last; waits for them, and leaves the fetch to be waited for as well.
    ///
    /// # Errors
    /// What went wrong on the card since.
    pub(super) fn latest(&self, length: usize) -> std::result::Result<&[u32], KernelError> {
        self.wait(&Fetch { turn: (self.turn + TURNS - 1) % TURNS, length })
    }

    /// Begins to copy the first words of [`Self::target`] to the host, and turns to the other area.
    ///
    /// # Errors
    /// What the driver reported, or that more is asked for than there is room.
    #[allow(unsafe_code)]
    pub(super) fn begin(&mut self, length: usize) -> std::result::Result<Fetch, KernelError> {
        let turn = self.turn;
        self.turn = (self.turn + 1) % TURNS;
        let area = &mut self.areas[turn];
        if length > area.words.len() {
            let actual = area.words.len();
            return Err(KernelError::Length { operation: "download", argument: "words", expected: length, actual });
        }
        area.wait()?;
        let said = |error| driver_error(error, "downloading");
        if length > 0 {
            let source = slice_address(&self.words[turn], &self.stream).0;
            let place = area.words.as_mut_slice().map_err(said)?;
            // SAFETY: both sides hold `length` words, and nobody touches the place before `done`, which `wait` waits for.
            unsafe { result::memcpy_dtoh_async(&mut place[..length], source, self.stream.cu_stream()) }
                .map_err(said)?;
        }
        area.done.record(&self.stream).map_err(said)?;
        Ok(Fetch { turn, length })
    }

    /// Waits for a fetch.
    ///
    /// # Errors
    /// What went wrong on the card since.
    pub(super) fn wait(&self, fetch: &Fetch) -> std::result::Result<&[u32], KernelError> {
        let area = &self.areas[fetch.turn];
        area.wait()?;
        let words = area.words.as_slice().map_err(|error| driver_error(error, "reading a download"))?;
        Ok(&words[..fetch.length])
    }
}

fn slice_address(slice: &CudaSlice<u32>, stream: &CudaStream) -> DevicePointer {
    use candle_core::cuda_backend::cudarc::driver::DevicePtr;
    DevicePointer(slice.device_ptr(stream).0)
}
