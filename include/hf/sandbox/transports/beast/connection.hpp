#ifndef HF_SANDBOX_TRANSPORTS_BEAST_CONNECTION_HPP
#define HF_SANDBOX_TRANSPORTS_BEAST_CONNECTION_HPP

#include <hf/sandbox/detail/request_clock.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>

#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/socket_base.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/system/error_code.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace hf::detail {

/// One connection with an event loop of its own, which only the thread that uses it runs.
class beast_connection {
 public:
  using socket_type = boost::asio::generic::stream_protocol::socket;
  using tls_stream = boost::asio::ssl::stream<socket_type&>;

  beast_connection() : context_(1), socket_(context_) {}
  beast_connection(beast_connection const&) = delete;
  beast_connection& operator=(beast_connection const&) = delete;
  ~beast_connection() { abandon(); }

  [[nodiscard]] boost::asio::io_context& context() noexcept { return context_; }
  [[nodiscard]] socket_type& socket() noexcept { return socket_; }
  [[nodiscard]] tls_stream* tls() noexcept { return tls_ ? &*tls_ : nullptr; }
  [[nodiscard]] boost::beast::flat_buffer& buffer() noexcept { return buffer_; }

  tls_stream& start_tls(std::shared_ptr<boost::asio::ssl::context> context) {
    tls_context_ = std::move(context);
    return tls_.emplace(socket_, *tls_context_);
  }

  template <class Buffers, class Handler>
  void read_some(Buffers const& buffers, Handler&& handler) {
    if (tls_)
      tls_->async_read_some(buffers, std::forward<Handler>(handler));
    else
      socket_.async_read_some(buffers, std::forward<Handler>(handler));
  }
  template <class Buffers, class Handler>
  void write_some(Buffers const& buffers, Handler&& handler) {
    if (tls_)
      tls_->async_write_some(buffers, std::forward<Handler>(handler));
    else
      socket_.async_write_some(buffers, std::forward<Handler>(handler));
  }

  enum class wait_result { done, cancelled, timed_out };

  /// Runs the loop until `over()`; a stop request has to wake it (see `wake`).
  template <class Over>
  wait_result wait(Over over, http::request const& rq, request_clock const& clock) {
    while (!over()) {
      if (rq.stop.stop_requested())
        return wait_result::cancelled;
      if (clock.expired())
        return wait_result::timed_out;
      if (context_.stopped())
        context_.restart();
      context_.run_one_for(clock.left(std::chrono::seconds(60)));
    }
    return wait_result::done;
  }

  /// Whether the connection has been silent since its last answer. One that the server has closed,
  /// or talks on unasked, is of no use.
  [[nodiscard]] bool still_good() {
    boost::system::error_code ec;
    socket_.non_blocking(true, ec);
    char byte = 0;
    socket_.receive(boost::asio::buffer(&byte, 1), boost::asio::socket_base::message_peek, ec);
    return ec == boost::asio::error::would_block || ec == boost::asio::error::try_again;
  }

  /// Closes the socket and lets every operation that is under way end.
  void abandon() noexcept {
    boost::system::error_code ignored;
    socket_.close(ignored);
    try {
      if (context_.stopped())
        context_.restart();
      context_.run();
    } catch (...) {  // handlers here do not throw; nobody could be told
    }
  }

 private:
  boost::asio::io_context context_;
  socket_type socket_;
  std::shared_ptr<boost::asio::ssl::context> tls_context_;
  std::optional<tls_stream> tls_;
  boost::beast::flat_buffer buffer_;
};

/// An error with the system's reason.
[[nodiscard]] inline error beast_error(errc code, std::string const& what,
                                       boost::system::error_code const& ec, bool reached) {
  error_details details;
  details.may_have_reached_peer = reached;
  if (ec.category() == boost::system::system_category())
    details.system_error = ec.value();
  return error(code, ec ? what + ": " + ec.message() : what, std::move(details));
}

}  // namespace hf::detail

#endif
