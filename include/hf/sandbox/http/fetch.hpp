#ifndef HF_SANDBOX_HTTP_FETCH_HPP
#define HF_SANDBOX_HTTP_FETCH_HPP

#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/http/sinks.hpp>
#include <hf/sandbox/http/transport.hpp>

#include <cstdint>
#include <utility>

namespace hf::http {

/// Largest answer that `fetch` keeps when the caller names no limit: 16 MiB.
inline constexpr std::uint64_t default_fetch_limit = std::uint64_t{16} << 20;

/// Performs a request and returns the whole answer, whatever its status.
///
/// Throws what the transport throws, and `errc::too_large` when the body exceeds `limit` bytes.
template <transport T>
[[nodiscard]] response fetch(T& through, request const& rq,
                             std::uint64_t limit = default_fetch_limit) {
  buffer_sink sink(limit);
  through.send(rq, sink);
  return std::move(sink.answer());
}

/// Performs a request and hands the body of a 2xx answer to `on_body` piece by piece.
///
/// `on_body` takes `std::span<std::byte const>` and returns `flow`; its exceptions pass through.
/// The returned answer has status and fields, and a body (at most 64 KiB) only when it is not 2xx.
template <transport T>
response stream(T& through, request const& rq, stream_sink::consumer on_body,
                stream_sink::head_consumer on_head = {}) {
  stream_sink sink(std::move(on_body), std::move(on_head));
  through.send(rq, sink);
  return std::move(sink.answer());
}

}  // namespace hf::http

#endif
