#ifndef HF_SANDBOX_TRANSPORTS_BEAST_EXCHANGE_HPP
#define HF_SANDBOX_TRANSPORTS_BEAST_EXCHANGE_HPP

#include <hf/sandbox/detail/head_parser.hpp>
#include <hf/sandbox/detail/request_clock.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/transports/beast/connection.hpp>
#include <hf/sandbox/transports/beast/sink_body.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/system/error_code.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace hf::detail {

/// One request on one open connection: writes and reads at the same time, because a server may
/// answer before it has read everything.
class beast_exchange {
 public:
  beast_exchange(beast_connection& connection, http::request const& rq, std::string const& head,
                 std::string const& origin, request_clock& clock, http::response_sink& sink)
      : connection_(connection),
        rq_(rq),
        origin_(origin),
        clock_(clock),
        sink_(sink),
        head_left_(head) {
    if (auto* const reader = rq.body.reader()) {
      body_left_ = reader->size();
      reader->rewind();
    } else {
      data_left_ = rq.body.text();
    }
    read_early_ = rq.body.size() > 65536 || rq.body.reader() != nullptr;
  }
  beast_exchange(beast_exchange const&) = delete;
  beast_exchange& operator=(beast_exchange const&) = delete;

  /// Whether the connection can serve another request.
  [[nodiscard]] bool reusable() const noexcept { return reusable_; }
  /// Whether the connection broke before it took a single byte: the request can go over another.
  [[nodiscard]] bool untouched() const noexcept { return untouched_; }

  void run() {
    clock_.connected();
    try {
      loop();
    } catch (...) {
      // Operations under way refer to this object.
      connection_.abandon();
      throw;
    }
    reusable_ = answered_ && !stopped_ && write_done() && !writing_ && !write_failed_ &&
                parser_->keep_alive() && !parser_->need_eof() && connection_.buffer().size() == 0;
    if (!reusable_)
      connection_.abandon();
  }

 private:
  using error_code = boost::system::error_code;
  using parser_type = boost::beast::http::parser<false, beast_sink_body>;
  using wait_result = beast_connection::wait_result;
  static constexpr std::size_t block_size = 512 * 1024;

  void loop() {
    new_parser();
    while (true) {
      if (stopped_ || (answered_ && (write_done() || refused_ || write_failed_)))
        return;
      if (!writing_ && !write_done() && !refused_ && !write_failed_)
        start_write();
      if (!reading_ && !answered_ && (read_early_ || write_done() || write_failed_))
        start_read();
      auto const how =
          connection_.wait([this] { return read_ready_ || write_ready_; }, rq_, clock_);
      if (how != wait_result::done)
        give_up(how);
      if (write_ready_)
        after_write();
      if (read_ready_)
        after_read();
    }
  }

  [[nodiscard]] bool write_done() const noexcept {
    return head_left_.empty() && data_left_.empty() && body_left_ == 0;
  }

  void start_write() {
    if (head_left_.empty() && data_left_.empty())
      next_block();
    std::array<boost::asio::const_buffer, 2> const pieces{
        boost::asio::const_buffer(head_left_.data(), head_left_.size()),
        boost::asio::const_buffer(data_left_.data(), data_left_.size())};
    writing_ = true;
    connection_.write_some(pieces, [this](error_code const& ec, std::size_t n) {
      write_error_ = ec;
      wrote_ = n;
      written_ += n;
      write_ready_ = true;
      writing_ = false;
    });
  }

  void next_block() {
    block_.resize(static_cast<std::size_t>((std::min<std::uint64_t>)(block_size, body_left_)));
    auto const n = rq_.body.reader()->read(
        std::as_writable_bytes(std::span<char>(block_.data(), block_.size())));
    clock_.moved();  // the reader's time is not the peer's silence
    if (n == 0)
      fail(errc::invalid_argument, "the request's body ended before its announced size");
    data_left_ = std::string_view(block_).substr(0, n);
    body_left_ -= (std::min<std::uint64_t>)(n, body_left_);
  }

  void after_write() {
    write_ready_ = false;
    if (wrote_ > 0)
      clock_.moved();
    auto const of_head = (std::min)(wrote_, head_left_.size());
    head_left_.remove_prefix(of_head);
    data_left_.remove_prefix(wrote_ - of_head);
    if (!write_error_)
      return;
    if (written_ == 0 && connection_.tls() == nullptr) {
      untouched_ = true;
      fail(errc::connection_lost, "the connection to " + origin_ + " is gone", write_error_);
    }
    // The server may have answered before it closed.
    write_failed_ = true;
  }

  void start_read() {
    auto const room = connection_.buffer().prepare(got_head_ ? block_size : 65536);
    reading_ = true;
    connection_.read_some(room, [this](error_code const& ec, std::size_t n) {
      read_error_ = ec;
      got_ = n;
      read_ready_ = true;
      reading_ = false;
    });
  }

  void after_read() {
    read_ready_ = false;
    connection_.buffer().commit(got_);
    if (got_ > 0) {
      clock_.moved();
      parse();
      clock_.moved();  // the sink's time is not the peer's silence
    }
    if (!read_error_ || answered_ || stopped_)
      return;
    error_code ec = read_error_;
    if (read_error_ == boost::asio::error::eof && parser_->got_some()) {
      parser_->put_eof(ec);
      if (!ec) {
        answered_ = true;
        return;
      }
    }
    if (!got_head_ && !consumed_ && !looks_like_http())
      fail(errc::protocol_error, origin_ + " does not answer in HTTP");
    fail(errc::connection_lost, "the connection to " + origin_ + " broke before the answer's end",
         ec);
  }

  /// Whether what is left in the buffer can be the begin of an answer.
  [[nodiscard]] bool looks_like_http() {
    constexpr std::string_view begin = "HTTP/1.";
    auto const data = connection_.buffer().data();
    auto const size = (std::min)(data.size(), begin.size());
    return begin.substr(0, size) == std::string_view(static_cast<char const*>(data.data()), size);
  }

  void parse() {
    auto& buffer = connection_.buffer();
    while (buffer.size() > 0 && !answered_ && !stopped_) {
      error_code ec;
      check_head();
      auto const used = put(ec);
      if (parser_->get().body().thrown)
        std::rethrow_exception(parser_->get().body().thrown);
      if (parser_->get().body().stopped) {
        stopped_ = true;
        return;
      }
      buffer.consume(used);
      checked_ -= (std::min)(checked_, used);
      consumed_ = consumed_ || used > 0;
      if (ec == boost::beast::http::error::need_more)
        ec = {};
      else if (ec)
        fail(errc::protocol_error, "the answer of " + origin_ + " is malformed", ec);
      if (!got_head_ && parser_->is_header_done())
        take_head();
      if (got_head_ && parser_->is_done())
        answered_ = true;
      if (used == 0)
        return;
    }
  }

  /// Passes the head's lines to the parser that all transports share, which knows the limits: Beast
  /// throws at a field that is too long for it, and has no limit for their number.
  void check_head() {
    auto const data = connection_.buffer().data();
    auto const text = std::string_view(static_cast<char const*>(data.data()), data.size());
    auto outcome = head_parser::outcome::more;
    while (!head_checked_ && outcome == head_parser::outcome::more) {
      auto const end = text.find('\n', checked_);
      if (end == std::string_view::npos) {
        if (text.size() - checked_ > head_parser::line_limit + 2)
          outcome = head_parser::outcome::too_large;
        break;
      }
      outcome = head_lines_.line(text.substr(checked_, end + 1 - checked_));
      checked_ = end + 1;
    }
    if (outcome == head_parser::outcome::done)
      head_checked_ = true;
    else if (outcome != head_parser::outcome::more)
      fail(errc::protocol_error, "the answer of " + origin_ + " has a malformed head");
  }

  std::size_t put(error_code& ec) {
    try {
      return parser_->put(connection_.buffer().data(), ec);
    } catch (std::length_error const&) {  // a trailer that is too long for Beast's fields
    }
    fail(errc::protocol_error, "the answer of " + origin_ + " has a field that is too long");
  }

  void take_head() {
    auto const& message = parser_->get();
    auto const status = static_cast<int>(message.result_int());
    if (status == 101)
      fail(errc::protocol_error, origin_ + " changes the protocol without being asked");
    if (status < 200)
      return new_parser();
    http::response_head head;
    head.status = status;
    for (auto const& field : message)
      head.fields.add(std::string(field.name_string()), std::string(field.value()));
    if (framing_is_ambiguous(head))
      fail(errc::protocol_error, "the answer of " + origin_ + " has no clear length");
    got_head_ = true;
    // Like libcurl: a server that refuses does not want the rest of the body.
    if (status >= 300 && !write_done())
      refused_ = true;
    parser_->eager(true);
    if (sink_.on_head(head) == http::flow::stop)
      stopped_ = true;
  }

  void new_parser() {
    parser_.emplace();
    parser_->header_limit(head_parser::limit);
    parser_->body_limit((std::numeric_limits<std::uint64_t>::max)());
    if (rq_.method == "HEAD")
      parser_->skip(true);
    parser_->get().body().sink = &sink_;
  }

  [[noreturn]] void give_up(wait_result how) {
    if (how == wait_result::cancelled)
      fail(errc::cancelled, "the request to " + origin_ + " was cancelled");
    fail(errc::request_timed_out, clock_.describe(origin_));
  }

  [[noreturn]] void fail(errc code, std::string const& text, error_code const& ec = {}) {
    connection_.abandon();  // now it is known how much was written
    throw beast_error(code, text, ec, written_ > 0);
  }

  beast_connection& connection_;
  http::request const& rq_;
  std::string const& origin_;
  request_clock& clock_;
  http::response_sink& sink_;
  std::optional<parser_type> parser_;
  head_parser head_lines_;
  std::size_t checked_ = 0;

  std::string_view head_left_;
  std::string_view data_left_;
  std::uint64_t body_left_ = 0;
  std::uint64_t written_ = 0;
  std::string block_;
  error_code write_error_;
  std::size_t wrote_ = 0;
  error_code read_error_;
  std::size_t got_ = 0;

  bool read_early_ = false;
  bool writing_ = false;
  bool write_ready_ = false;
  bool write_failed_ = false;
  bool reading_ = false;
  bool read_ready_ = false;
  bool consumed_ = false;
  bool head_checked_ = false;
  bool got_head_ = false;
  bool answered_ = false;
  bool refused_ = false;
  bool stopped_ = false;
  bool untouched_ = false;
  bool reusable_ = false;
};

}  // namespace hf::detail

#endif
