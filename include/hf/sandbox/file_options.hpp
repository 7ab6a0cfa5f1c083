#ifndef HF_SANDBOX_FILE_OPTIONS_HPP
#define HF_SANDBOX_FILE_OPTIONS_HPP

#include <hf/sandbox/detail/stop_token.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>

namespace hf {

/// Parallel transfers begin above this many bytes: 2 MiB, as in the official client.
inline constexpr std::uint64_t parallel_transfer_threshold = std::uint64_t{2} << 20;
/// Streams of a parallel transfer: 16. One stream through the proxy of HF Jobs carries about
/// 2 MiB/s, sixteen carry about 340.
inline constexpr std::size_t parallel_transfer_streams = 16;

/// How much of a transfer is done, in bytes. `total` is 0 while it is not known.
struct transfer_progress {
  /// Bytes that have been transferred.
  std::uint64_t done = 0;
  /// Bytes in all.
  std::uint64_t total = 0;
};

/// How `read`, `write`, `upload` and `download` move bytes.
struct transfer_options {
  /// Requests at once for files above `threshold`; 0: 16, or 1 when the agent is on this machine,
  /// where more gain nothing. One stream of an upload to our agent is atomic, several are not.
  std::size_t streams = 0;
  /// Files up to this many bytes go in one request.
  std::uint64_t threshold = parallel_transfer_threshold;
  /// Called on the calling thread; what it throws ends the transfer and is rethrown. Empty: none.
  std::function<void(transfer_progress const&)> on_progress = {};
  /// Longest silence of one request; 0: the transport's default (60 s).
  std::chrono::milliseconds stall_timeout{0};
  /// Point in time by which the whole call has to be over; nothing: no limit.
  std::optional<std::chrono::steady_clock::time_point> deadline = {};
  /// Cancels the call from another thread (`errc::cancelled`).
  stop_token stop = {};
};

/// How `write` and `upload` create files.
struct write_options {
  /// Permission bits, for instance 0755; nothing: an existing file keeps its own, a new one gets
  /// 0644. Set-uid, set-gid and sticky bits are refused (`errc::invalid_argument`).
  std::optional<int> mode = {};
  /// Makes missing parent directories.
  bool make_parents = true;
  /// Refuses (`errc::conflict`) what the agent cannot replace all at once. Needs our agent; forces
  /// a single stream.
  bool require_atomic = false;
  /// How the bytes travel.
  transfer_options transfer = {};
};

/// How `read` gets a file into memory.
struct read_options {
  /// Larger files are refused (`errc::too_large`): 512 MiB.
  std::uint64_t max_size = std::uint64_t{512} << 20;
  /// How the bytes travel.
  transfer_options transfer = {};
};

}  // namespace hf

#endif
