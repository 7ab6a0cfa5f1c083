#ifndef HF_SANDBOX_HTTP_SINKS_HPP
#define HF_SANDBOX_HTTP_SINKS_HPP

#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/response.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace hf::http {

/// The bytes of a piece of an answer as text.
[[nodiscard]] inline std::string_view as_text(std::span<std::byte const> data) noexcept {
  return {reinterpret_cast<char const*>(data.data()), data.size()};
}

/// Keeps a whole answer in memory; one that is larger than `limit` ends with `errc::too_large`.
template <class = void>
class basic_buffer_sink : public response_sink {
 public:
  /// Keeps at most `limit` bytes.
  explicit basic_buffer_sink(std::uint64_t limit) : limit_(limit) {}

  /// Takes the head.
  flow on_head(response_head const& head) override {
    answer_.status = head.status;
    answer_.fields = head.fields;
    return flow::more;
  }

  /// Takes the next bytes.
  flow on_data(std::span<std::byte const> data) override {
    if (data.size() > limit_ - answer_.body.size()) {
      error_details details;
      details.http_status = answer_.status;
      details.may_have_reached_peer = true;
      throw error(errc::too_large, "the answer is larger than " + std::to_string(limit_) + " bytes",
                  std::move(details));
    }
    answer_.body.append(as_text(data));
    return flow::more;
  }

  /// The answer so far.
  [[nodiscard]] response& answer() noexcept { return answer_; }

 private:
  std::uint64_t limit_;
  response answer_;
};
/// See `basic_buffer_sink`.
class buffer_sink : public basic_buffer_sink<> {
 public:
  using basic_buffer_sink::basic_buffer_sink;
};

/// Hands the body of a 2xx answer on piece by piece; keeps any other answer's body, up to a limit,
/// because it says what went wrong (what lies beyond the limit is dropped).
template <class = void>
class basic_stream_sink : public response_sink {
 public:
  /// What gets the body.
  using consumer = std::function<flow(std::span<std::byte const>)>;
  /// What gets the head.
  using head_consumer = std::function<flow(response_head const&)>;

  /// `on_head` may be empty; it sees every head.
  basic_stream_sink(consumer on_body, head_consumer on_head_seen = {},
                    std::size_t error_limit = 65536)
      : body_(std::move(on_body)), head_(std::move(on_head_seen)), error_limit_(error_limit) {}

  /// Takes the head.
  flow on_head(response_head const& head) override {
    answer_.status = head.status;
    answer_.fields = head.fields;
    return head_ ? head_(head) : flow::more;
  }

  /// Takes the next bytes.
  flow on_data(std::span<std::byte const> data) override {
    if (answer_.status >= 200 && answer_.status < 300)
      return body_(data);
    auto const text = as_text(data);
    answer_.body.append(text.substr(0, error_limit_ - answer_.body.size()));
    return answer_.body.size() < error_limit_ ? flow::more : flow::stop;
  }

  /// Status, fields, and the body of an answer that is not 2xx.
  [[nodiscard]] response& answer() noexcept { return answer_; }

 private:
  consumer body_;
  head_consumer head_;
  std::size_t error_limit_;
  response answer_;
};
/// See `basic_stream_sink`.
class stream_sink : public basic_stream_sink<> {
 public:
  using basic_stream_sink::basic_stream_sink;
};

}  // namespace hf::http

#endif
