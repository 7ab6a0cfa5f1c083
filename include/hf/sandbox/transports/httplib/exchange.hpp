#ifndef HF_SANDBOX_TRANSPORTS_HTTPLIB_EXCHANGE_HPP
#define HF_SANDBOX_TRANSPORTS_HTTPLIB_EXCHANGE_HPP

#include <hf/sandbox/detail/head_parser.hpp>
#include <hf/sandbox/detail/request_clock.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/http/url.hpp>
#include <hf/sandbox/transports/httplib/connection.hpp>
#include <hf/sandbox/transports/httplib/interrupter.hpp>
#include <hf/sandbox/transports/httplib/sigpipe.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace hf::detail {

/// One request on one cpp-httplib client.
class httplib_exchange {
 public:
  httplib_exchange(httplib_connection& connection, http::request const& rq, http::url const& target,
                   std::string const& user_agent, request_clock& clock, http::response_sink& sink)
      : connection_(connection),
        rq_(rq),
        target_(target),
        user_agent_(user_agent),
        clock_(clock),
        sink_(sink) {}
  httplib_exchange(httplib_exchange const&) = delete;
  httplib_exchange& operator=(httplib_exchange const&) = delete;

  void run() {
    auto request = make_request();
    httplib::Response response;
    auto problem = httplib::Error::Success;
    bool sent = false;
    bool resend = false;
    {
      sigpipe_guard const no_signal;
      httplib_interrupter<httplib::ClientImpl> const interrupter(connection_.client(), rq_);
      try {
        sent = connection_.client().send(request, response, problem);
      } catch (httplib_connection::would_resend const&) {
        resend = true;
      }
    }
    if (thrown_)
      std::rethrow_exception(thrown_);
    if (stopped_)
      return;
    if (sent && !got_head_) {
      // It reports no head before the end where there is no body: HEAD and 204.
      guarded([&] { take_head(response); });
      if (thrown_)
        std::rethrow_exception(thrown_);
    }
    // A body that ends with its connection also ends when that breaks, or when we cut it.
    bool const cut = !length_ && (rq_.stop.stop_requested() || clock_.expired() ||
                                  (ends_with_connection_ && connection_.broke()));
    whole_ = sent && got_head_ && !cut;
    if (whole_ || (got_head_ && length_ == received_))
      return;
    report(problem, resend);
  }

  /// Whether the answer came whole, so that the connection may serve another request.
  [[nodiscard]] bool whole() const noexcept { return whole_ && !stopped_; }

 private:
  httplib::Request make_request() {
    httplib::Request out;
    out.method = rq_.method;
    out.path = target_.target;
    out.headers.emplace("Host", target_.authority());
    for (auto const& field : rq_.fields)
      out.headers.emplace(field.name, field.value);
    if (!user_agent_.empty() && !rq_.fields.contains("User-Agent"))
      out.headers.emplace("User-Agent", user_agent_);
    if (rq_.body.present()) {
      if (auto* const reader = rq_.body.reader())
        reader->rewind();
      // As a provider also for bodies in memory, else a Content-Type is made up.
      out.content_length_ = static_cast<std::size_t>(rq_.body.size());
      out.content_provider_ = [this](std::size_t offset, std::size_t left, httplib::DataSink& to) {
        return guarded([&] { provide(offset, left, to); });
      };
    }
    out.response_handler = [this](httplib::Response const& response) {
      bool const more = guarded([&] { take_head(response); });
      // Their bodies are empty whatever they announce; older versions wait for one.
      return more && !(length_ && *length_ == 0 && response.status == 304);
    };
    out.content_receiver = [this](char const* data, std::size_t size, auto...) {
      return guarded([&] {
        received_ += size;
        auto const piece = std::as_bytes(std::span<char const>(data, size));
        if (sink_.on_data(piece) == http::flow::stop)
          stopped_ = true;
      });
    };
    return out;
  }

  void provide(std::size_t offset, std::size_t left, httplib::DataSink& to) {
    auto* const reader = rq_.body.reader();
    if (reader == nullptr) {
      auto const n = (std::min)(left, block_size);
      write_failed_ = !to.write(rq_.body.text().data() + offset, n);
      return;
    }
    block_.resize((std::min)(left, block_size));
    auto const n =
        reader->read(std::as_writable_bytes(std::span<char>(block_.data(), block_.size())));
    if (n == 0)
      throw refused(errc::invalid_argument, "the request's body ended before its announced size");
    clock_.moved();
    write_failed_ = !to.write(block_.data(), n);
  }

  void take_head(httplib::Response const& response) {
    if (response.status == 101)
      throw refused(errc::protocol_error, "the server changes the protocol without being asked");
    if (response.status < 200)
      throw refused(errc::unsupported, "cpp-httplib cannot skip an answer of status " +
                                           std::to_string(response.status));
    http::response_head head;
    head.status = response.status;
    for (auto const& [name, value] : response.headers)
      head.fields.add(name, value);
    if (framing_is_ambiguous(head))
      throw refused(errc::protocol_error, "the answer has no clear length");
    got_head_ = true;
    length_ = announced_length(head, rq_.method == "HEAD");
    ends_with_connection_ = !length_ && !head.fields.contains("Transfer-Encoding");
    if (sink_.on_head(head) == http::flow::stop)
      stopped_ = true;
  }

  static error refused(errc code, std::string text) {
    error_details details;
    details.may_have_reached_peer = true;
    return error(code, std::move(text), std::move(details));
  }

  /// Runs the caller's code; false ends the exchange.
  template <class Action>
  bool guarded(Action&& action) {
    try {
      clock_.connected();
      action();
    } catch (...) {
      thrown_ = std::current_exception();
      return false;
    }
    errno = 0;
    if (write_failed_)
      return false;
    clock_.moved();
    if (rq_.deadline && std::chrono::steady_clock::now() >= *rq_.deadline)
      return false;
    return !stopped_ && !rq_.stop.stop_requested();
  }

  [[noreturn]] void report(httplib::Error problem, bool resend) {
    auto const origin = target_.origin();
    bool const connecting = !resend && !clock_.is_connected() && problem != httplib::Error::Read &&
                            problem != httplib::Error::Write &&
                            problem != httplib::Error::Canceled &&
                            problem != httplib::Error::Unknown;
    error_details details;
    details.may_have_reached_peer = !connecting;
    if (!connecting && !clock_.is_connected())
      clock_.assume_connected();
    auto code = errc::connection_lost;
    auto text = "the connection to " + origin + " broke before the answer's end";
    if (rq_.stop.stop_requested()) {
      code = errc::cancelled;
      text = "the request to " + origin + " was cancelled";
    } else if (clock_.expired()) {
      code = errc::request_timed_out;
      text = clock_.describe(origin);
    } else if (connecting) {
      // Newer versions have more codes for this; all their texts begin the same.
      bool const tls = httplib::to_string(problem).rfind("SSL", 0) == 0;
      code = tls ? errc::tls_failed : errc::connect_failed;
      text = origin + ": " + httplib::to_string(problem);
    }
    throw error(code, std::move(text), std::move(details));
  }

  static constexpr std::size_t block_size = 256 * 1024;

  httplib_connection& connection_;
  http::request const& rq_;
  http::url const& target_;
  std::string const& user_agent_;
  request_clock& clock_;
  http::response_sink& sink_;
  std::string block_;
  std::exception_ptr thrown_;
  std::optional<std::uint64_t> length_;
  std::uint64_t received_ = 0;
  bool write_failed_ = false;
  bool got_head_ = false;
  bool ends_with_connection_ = false;
  bool stopped_ = false;
  bool whole_ = false;
};

}  // namespace hf::detail

#endif
