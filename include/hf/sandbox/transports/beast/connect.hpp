#ifndef HF_SANDBOX_TRANSPORTS_BEAST_CONNECT_HPP
#define HF_SANDBOX_TRANSPORTS_BEAST_CONNECT_HPP

#include <hf/sandbox/detail/head_parser.hpp>
#include <hf/sandbox/detail/proxy_address.hpp>
#include <hf/sandbox/detail/request_clock.hpp>
#include <hf/sandbox/detail/resolver.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/url.hpp>
#include <hf/sandbox/transports/beast/connection.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/socket_base.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream_base.hpp>
#include <boost/system/error_code.hpp>
#include <openssl/ssl.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf::detail {

/// Opens connections for one request.
class beast_connector {
 public:
  beast_connector(beast_connection& connection, http::request const& rq, http::url const& target,
                  proxy_address const& proxy, request_clock& clock)
      : connection_(connection), rq_(rq), target_(target), proxy_(proxy), clock_(clock) {}

  /// Connects, and speaks to proxy and TLS as needed. `tls` may be null for plain URLs.
  void open(std::shared_ptr<boost::asio::ssl::context> tls) {
    if (!rq_.unix_socket.empty()) {
      open_unix();
    } else if (proxy_.present()) {
      open_tcp(proxy_.host, proxy_.port);
      if (target_.tls())
        open_tunnel();
    } else {
      open_tcp(target_.host, target_.port);
    }
    if (target_.tls())
      handshake(std::move(tls));
  }

 private:
  using endpoint_type = boost::asio::generic::stream_protocol::endpoint;
  using wait_result = beast_connection::wait_result;

  void open_unix() {
#if defined(BOOST_ASIO_HAS_LOCAL_SOCKETS)
    endpoint_type const at{boost::asio::local::stream_protocol::endpoint(rq_.unix_socket)};
    if (auto const ec = try_connect(at, clock_))
      throw beast_error(errc::connect_failed, "cannot connect to " + rq_.unix_socket, ec, false);
#else
    throw error(errc::unsupported, "unix sockets are not available on this platform");
#endif
  }

  void open_tcp(std::string const& host, std::uint16_t port) {
    auto const addresses = resolve(host, rq_, clock_);
    boost::system::error_code last;
    for (std::size_t i = 0; i < addresses.size(); ++i) {
      auto const address = boost::asio::ip::make_address(addresses[i], last);
      if (last)
        continue;
      // An address that never answers must leave time for those after it.
      http::request part;
      part.deadline = rq_.deadline;
      auto const left = clock_.left(std::chrono::hours(24));
      auto const share = left / static_cast<int>(addresses.size() - i);
      part.connect_timeout = (std::max)(share, std::chrono::milliseconds(1));
      request_clock const limit(part);
      last = try_connect(endpoint_type(boost::asio::ip::tcp::endpoint(address, port)), limit);
      if (!last) {
        boost::system::error_code ignored;
        connection_.socket().set_option(boost::asio::ip::tcp::no_delay(true), ignored);
        connection_.socket().set_option(boost::asio::socket_base::keep_alive(true), ignored);
        return;
      }
    }
    if (last == boost::asio::error::timed_out)
      time_out();
    throw beast_error(errc::connect_failed,
                      "cannot connect to " + host + " port " + std::to_string(port), last, false);
  }

  /// Connects to one address; the reason when that fails.
  boost::system::error_code try_connect(endpoint_type const& at, request_clock const& limit) {
    boost::system::error_code result;
    bool done = false;
    auto& socket = connection_.socket();
    boost::system::error_code ignored;
    socket.close(ignored);
    socket.open(at.protocol(), result);
    if (result)
      return result;
    socket.async_connect(at, [&](boost::system::error_code const& ec) {
      result = ec;
      done = true;
    });
    auto const how = connection_.wait([&] { return done; }, rq_, limit);
    if (how == wait_result::done)
      return result;
    finish(done);
    if (how == wait_result::cancelled)
      cancel();
    return boost::asio::error::timed_out;
  }

  void open_tunnel() {
    auto const peer = target_.bracketed_host() + ":" + std::to_string(target_.port);
    auto text = "CONNECT " + peer + " HTTP/1.1\r\nHost: " + peer + "\r\n";
    if (auto const value = proxy_.authorization(); !value.empty())
      text += "Proxy-Authorization: " + value + "\r\n";
    text += "\r\n";
    for (std::string_view left = text; !left.empty();)
      left.remove_prefix(step([&](auto handler) {
        connection_.write_some(boost::asio::buffer(left.data(), left.size()), std::move(handler));
      }));
    // The server says nothing before we do: all bytes up to the end of the head are the proxy's.
    std::string head;
    while (head.find("\r\n\r\n") == std::string::npos && head.size() < 65536) {
      char block[4096];
      head.append(block, step([&](auto handler) {
                    connection_.read_some(boost::asio::buffer(block), std::move(handler));
                  }));
    }
    head_parser parser;
    parser.line(std::string_view(head).substr(0, head.find("\r\n")));
    auto const status = parser.head().status;
    if (status < 200 || status > 299)
      throw error(errc::connect_failed, "the proxy refuses a connection to " + peer + " (status " +
                                            std::to_string(status) + ")");
  }

  /// One operation on the way to the tunnel; bytes moved.
  template <class Start>
  std::size_t step(Start start) {
    boost::system::error_code result;
    std::size_t moved = 0;
    bool done = false;
    start([&](boost::system::error_code const& ec, std::size_t n) {
      result = ec;
      moved = n;
      done = true;
    });
    wait_for(done);
    if (result)
      throw beast_error(errc::connect_failed, "the proxy broke off", result, false);
    return moved;
  }

  void handshake(std::shared_ptr<boost::asio::ssl::context> context) {
    auto& stream = connection_.start_tls(std::move(context));
    boost::system::error_code result;
    boost::asio::ip::make_address(target_.host, result);
    bool const is_name = static_cast<bool>(result);
    if (is_name && SSL_set_tlsext_host_name(stream.native_handle(), target_.host.c_str()) != 1)
      throw error(errc::tls_failed, "OpenSSL refuses the host name");
    stream.set_verify_callback(boost::asio::ssl::host_name_verification(target_.host));
    bool done = false;
    stream.async_handshake(boost::asio::ssl::stream_base::client,
                           [&](boost::system::error_code const& ec) {
                             result = ec;
                             done = true;
                           });
    wait_for(done);
    if (result)
      throw beast_error(errc::tls_failed, "TLS with " + target_.origin() + " failed", result,
                        false);
  }

  void wait_for(bool const& done) {
    auto const how = connection_.wait([&] { return done; }, rq_, clock_);
    if (how == wait_result::done)
      return;
    finish(done);
    if (how == wait_result::cancelled)
      cancel();
    time_out();
  }

  /// The operation's handler refers to this stack frame: it has to run before the frame goes.
  void finish(bool const& done) {
    boost::system::error_code ignored;
    connection_.socket().close(ignored);
    while (!done) {
      if (connection_.context().stopped())
        connection_.context().restart();
      connection_.context().run_one();
    }
  }

  [[noreturn]] void cancel() const {
    throw error(errc::cancelled, "the request to " + target_.origin() + " was cancelled");
  }
  [[noreturn]] void time_out() const {
    throw error(errc::request_timed_out, clock_.describe(target_.origin()));
  }

  beast_connection& connection_;
  http::request const& rq_;
  http::url const& target_;
  proxy_address const& proxy_;
  request_clock& clock_;
};

}  // namespace hf::detail

#endif
