#ifndef HF_SANDBOX_AGENT_HTTP_LIMITS_HPP
#define HF_SANDBOX_AGENT_HTTP_LIMITS_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace hf::agent {

/// What a caller may take of the front door; the sizes and times are the protocol's.
struct limits {
  /// Request line and fields, with the empty line.
  std::size_t head_bytes = 64 * 1024;
  std::size_t fields = 100;
  /// From the first byte (of a new connection: from its start) to the head's end.
  std::chrono::milliseconds head = std::chrono::seconds(10);
  /// Without a byte of a body that has begun.
  std::chrono::milliseconds body = std::chrono::seconds(60);
  /// Without the reader taking a byte of its answer.
  std::chrono::milliseconds write = std::chrono::seconds(120);
  /// A connection between requests.
  std::chrono::milliseconds keep_alive = std::chrono::seconds(75);
  /// Of a body that nobody wants: read and dropped up to here, else the connection is closed.
  std::uint64_t drain_bytes = 1 << 20;
  /// How long a connection that is being closed may take to read its last answer, and how much it
  /// may still send meanwhile.
  std::chrono::milliseconds linger = std::chrono::seconds(2);
  std::uint64_t linger_bytes = 256 << 20;
  /// Of requests that follow one that is still running.
  std::size_t pipelined_bytes = 64 * 1024;
  /// At once; beyond it connections are refused with 503.
  std::size_t connections = 512;
};

}  // namespace hf::agent

#endif
