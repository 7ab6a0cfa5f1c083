#ifndef HF_SANDBOX_AGENT_PROXY_BACKEND_HPP
#define HF_SANDBOX_AGENT_PROXY_BACKEND_HPP

#include "context.hpp"
#include "http/exchange.hpp"
#include "http/message_parser.hpp"
#include "http/stream.hpp"
#include "proxy/place.hpp"

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>

namespace hf::agent {

/// A connection to a server inside, good for one request.
class backend {
 public:
  /// What the server has answered so far: the head's raw bytes, parsed.
  struct answer {
    std::string raw_head;
    response_parser parser;
    /// Nothing: chunked, or until the server closes.
    std::optional<std::uint64_t> length;
  };

  backend(context& shared, deadlines& timers) : shared_(shared), timers_(timers) {}

  /// Connects to the port's server; `http_error` 502 when nobody listens there.
  asio::awaitable<void> connect(proxy_place const& place, std::uint16_t port);
  [[nodiscard]] stream& socket() { return *socket_; }
  /// Breaks off whatever is going on; to be called from elsewhere.
  void stop() {
    if (socket_)
      socket_->stop();
  }

  asio::awaitable<void> write(std::string_view bytes);
  /// Reads the head of the answer, passing over 1xx ones but for 101; `http_error` 502 for anything
  /// that is not HTTP.
  asio::awaitable<void> read_head(answer& into, bool to_head_request);
  /// Passes the answer's body on until its end; throws when the server breaks off.
  asio::awaitable<void> relay_body(answer& from, exchange& to);
  /// Bytes received behind the head.
  [[nodiscard]] std::string& received() { return received_; }

 private:
  asio::awaitable<void> connect_to_loopback();
  /// errno, 0 for success.
  asio::awaitable<int> connect_to(sockaddr const* address, socklen_t size);
  asio::awaitable<bool> fill();

  context& shared_;
  deadlines& timers_;
  std::uint16_t port_ = 0;
  std::optional<stream> socket_;
  std::string received_;
};

}  // namespace hf::agent

#endif
