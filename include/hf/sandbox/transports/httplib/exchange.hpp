#ifndef HF_SANDBOX_TRANSPORTS_HTTPLIB_EXCHANGE_HPP
#define HF_SANDBOX_TRANSPORTS_HTTPLIB_EXCHANGE_HPP

#include <hf/sandbox/detail/answer_reader.hpp>
#include <hf/sandbox/detail/request_clock.hpp>
#include <hf/sandbox/detail/validate_request.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/http/url.hpp>
#include <hf/sandbox/transports/httplib/connection.hpp>
#include <hf/sandbox/transports/httplib/sigpipe.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace hf::detail {

/// One request on one connection.
///
/// cpp-httplib writes the request to this stream, which puts its own head in the place of the
/// library's. The answer is read here, because the library's own parser has no limits and runs
/// std::regex over the status line, which overflows the stack. When the answer is over, the library
/// reads an empty one. Nothing is thrown by it; what this stream and the caller's functions throw
/// passes through it.
class httplib_exchange final : public httplib::Stream {
 public:
  httplib_exchange(httplib_connection& connection, http::request const& rq, http::url const& target,
                   std::string const& user_agent, request_clock& clock, http::response_sink& sink)
      : connection_(connection),
        rq_(rq),
        target_(target),
        user_agent_(user_agent),
        clock_(clock),
        sink_(sink),
        reader_(rq.method == "HEAD") {}
  httplib_exchange(httplib_exchange const&) = delete;
  httplib_exchange& operator=(httplib_exchange const&) = delete;

  void run() {
    auto request = make_request();
    httplib::Response response;
    auto problem = httplib::Error::Success;
    clock_.connected();
    sigpipe_guard const no_signal;
    connection_.client.process_request(*this, request, response, false, problem);
    if (!answered_ && !stopped_)
      lost();
  }

  /// Whether the connection may serve another request.
  [[nodiscard]] bool whole() const {
    return answered_ && !stopped_ && input_.empty() && reader_.keeps_connection();
  }

  // What httplib::Stream asks for; the functions differ from version to version.
  bool is_readable() const { return true; }
  bool is_writable() const { return true; }
  bool wait_readable() const { return true; }
  bool wait_writable() const { return true; }
  bool is_peer_alive() const { return true; }
  time_t duration() const { return 0; }
  void get_remote_ip_and_port(std::string&, int&) const {}
  void get_local_ip_and_port(std::string&, int&) const {}
  socket_t socket() const { return connection_.socket.native(); }

  ssize_t write(char const* data, std::size_t size) {
    if (!head_sent_) {
      // The head comes in one piece. Newer versions normalise the query and add fields: ours is
      // sent.
      if (std::string_view(data, size).substr(size < 4 ? 0 : size - 4) != "\r\n\r\n")
        fail(errc::internal, "this version of cpp-httplib writes heads in several pieces");
      send_head();
      return static_cast<ssize_t>(size);
    }
    auto const n = connection_.socket.write(data, size);
    if (n == 0)
      lost();
    return static_cast<ssize_t>(n);
  }

  ssize_t read(char* to, std::size_t size) {
    if (!answered_ && !read_answer())
      return -1;
    auto const n = (std::min)(size, for_library_.size());
    std::copy_n(for_library_.begin(), n, to);
    for_library_.remove_prefix(n);
    return static_cast<ssize_t>(n);
  }

 private:
  httplib::Request make_request() {
    httplib::Request out;
    out.method = rq_.method;
    out.path = target_.target;
    // Its presence keeps newer versions from asking for a 100 by themselves; it is not sent.
    out.headers.emplace("Expect", "nothing");
    if (rq_.body.present()) {
      if (auto* const reader = rq_.body.reader())
        reader->rewind();
      // As a provider also for bodies in memory, else a Content-Type is made up.
      out.content_length_ = static_cast<std::size_t>(rq_.body.size());
      out.content_provider_ = [this](std::size_t offset, std::size_t left, httplib::DataSink& to) {
        return provide(offset, left, to);
      };
    }
    // Without a receiver the library asks for compression, and names itself.
    out.content_receiver = [](char const*, std::size_t, auto...) { return true; };
    return out;
  }

  void send_head() {
    std::string head = rq_.method + ' ' + target_.target + " HTTP/1.1\r\n";
    auto const add = [&head](std::string_view name, std::string_view value) {
      head.append(name).append(": ").append(value).append("\r\n");
    };
    add("Host", target_.authority());
    for (auto const& field : rq_.fields)
      add(field.name, field.value);
    if (!user_agent_.empty() && !rq_.fields.contains("User-Agent"))
      add("User-Agent", user_agent_);
    if (rq_.body.present() || announces_empty_body(rq_))
      add("Content-Length", std::to_string(rq_.body.size()));
    head += "\r\n";
    for (std::string_view left = head; !left.empty();) {
      auto const n = connection_.socket.write(left.data(), left.size());
      if (n == 0)
        lost();
      left.remove_prefix(n);
    }
    head_sent_ = true;
  }

  bool provide(std::size_t offset, std::size_t left, httplib::DataSink& to) {
    auto const n = (std::min)(left, block_size);
    auto* const reader = rq_.body.reader();
    if (reader == nullptr)
      return to.write(rq_.body.text().data() + offset, n);
    block_.resize(n);
    auto const got = reader->read(std::as_writable_bytes(std::span<char>(block_.data(), n)));
    if (got == 0)
      fail(errc::invalid_argument, "the request's body ended before its announced size");
    clock_.moved();  // the reader's time is not the peer's silence
    return to.write(block_.data(), got);
  }

  /// Reads the whole answer into the sink; false when the sink wants no more of it.
  bool read_answer() {
    block_.resize(block_size);
    std::string_view piece;
    while (true) {
      switch (reader_.next(input_, piece)) {
        case answer_reader::event::need_more:
          if (!more_input())
            return true;
          break;
        case answer_reader::event::head:
          stopped_ = sink_.on_head(reader_.head()) == http::flow::stop;
          break;
        case answer_reader::event::data:
          stopped_ = sink_.on_data(std::as_bytes(std::span(piece))) == http::flow::stop;
          break;
        case answer_reader::event::malformed:
          fail(errc::protocol_error, "the answer of " + target_.origin() + " is malformed");
        case answer_reader::event::done:
          answered_ = true;
          return true;
      }
      if (stopped_)
        return false;
      clock_.moved();  // the sink's time is not the peer's silence
      if (rq_.stop.stop_requested())
        fail(errc::cancelled, "the request to " + target_.origin() + " was cancelled");
      if (clock_.expired())
        fail(errc::request_timed_out, clock_.describe(target_.origin()));
    }
  }

  /// False: the connection's end is the answer's.
  bool more_input() {
    auto how = httplib_socket::end::none;
    auto const n = connection_.socket.read(block_.data(), block_.size(), how);
    input_ = std::string_view(block_).substr(0, n);
    if (n > 0)
      return true;
    if (how != httplib_socket::end::good || !reader_.at_end())
      lost();
    answered_ = true;
    return false;
  }

  [[noreturn]] void lost() const {
    fail(errc::connection_lost,
         "the connection to " + target_.origin() + " broke before the answer's end");
  }
  [[noreturn]] static void fail(errc code, std::string text) {
    error_details details;
    details.may_have_reached_peer = true;
    throw error(code, std::move(text), std::move(details));
  }

  static constexpr std::size_t block_size = 256 * 1024;

  httplib_connection& connection_;
  http::request const& rq_;
  http::url const& target_;
  std::string const& user_agent_;
  request_clock& clock_;
  http::response_sink& sink_;
  answer_reader reader_;
  std::string block_;
  std::string_view input_;
  std::string_view for_library_ = "HTTP/1.1 204 No Content\r\n\r\n";
  bool head_sent_ = false;
  bool answered_ = false;
  bool stopped_ = false;
};

}  // namespace hf::detail

#endif
