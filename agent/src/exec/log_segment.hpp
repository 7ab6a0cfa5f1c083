#ifndef HF_SANDBOX_AGENT_EXEC_LOG_SEGMENT_HPP
#define HF_SANDBOX_AGENT_EXEC_LOG_SEGMENT_HPP

#include "exec/byte_buffer.hpp"

#include <hf/sandbox/wire/events.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace hf::agent {

/// Consecutive records in one piece of memory, or in the spill file.
struct log_segment {
  /// Numbers of its first record and of the one behind its last.
  std::uint64_t first_seq = 0;
  std::uint64_t end_seq = 0;
  /// Bytes of output before it, and before its end, since the run began.
  std::uint64_t first_byte = 0;
  std::uint64_t end_byte = 0;
  /// Packed records; empty when on disk.
  byte_buffer data = {};
  /// Size of the packed records.
  std::size_t size = 0;
  /// What the budget was charged for `data`.
  std::size_t charged = 0;
  /// Where the last record begins.
  std::size_t last_record = 0;
  bool on_disk = false;
  bool spilling = false;
  std::uint64_t file_position = 0;
};

/// Precedes each packed record.
struct record_header {
  static constexpr std::size_t size = 4;
  wire::output_stream stream = wire::output_stream::out;
  std::uint32_t length = 0;

  static record_header load(char const* from) noexcept {
    std::uint32_t word;
    std::memcpy(&word, from, size);
    return {(word >> 31) != 0 ? wire::output_stream::err : wire::output_stream::out,
            word & 0x7fffffffu};
  }
  void store(char* to) const noexcept {
    std::uint32_t const word = length | (stream == wire::output_stream::err ? 0x80000000u : 0u);
    std::memcpy(to, &word, size);
  }
};

/// Records are no longer than this.
inline constexpr std::size_t max_record = 64 * 1024;

}  // namespace hf::agent

#endif
