#ifndef HF_SANDBOX_TRANSPORTS_BEAST_HPP
#define HF_SANDBOX_TRANSPORTS_BEAST_HPP

#include <hf/sandbox/detail/connection_pool.hpp>
#include <hf/sandbox/detail/merge_tls.hpp>
#include <hf/sandbox/detail/proxy.hpp>
#include <hf/sandbox/detail/proxy_address.hpp>
#include <hf/sandbox/detail/request_clock.hpp>
#include <hf/sandbox/detail/request_head.hpp>
#include <hf/sandbox/detail/stop_token.hpp>
#include <hf/sandbox/detail/validate_request.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/http/transport_traits.hpp>
#include <hf/sandbox/http/url.hpp>
#include <hf/sandbox/transports/beast/connect.hpp>
#include <hf/sandbox/transports/beast/connection.hpp>
#include <hf/sandbox/transports/beast/exchange.hpp>
#include <hf/sandbox/transports/beast/tls_contexts.hpp>
#include <hf/sandbox/transports/options.hpp>

#include <boost/asio/post.hpp>

#include <memory>
#include <string>
#include <utility>

namespace hf {

/// HTTP through Boost.Beast and Boost.Asio (Boost 1.74 or later) with OpenSSL.
///
/// Models `hf::transport`; proxies have to be http:// ones (`errc::unsupported` otherwise). `send`
/// blocks, and may be called from any number of threads at once; each call drives a pooled
/// connection with an event loop of its own, so there are no hidden threads, but for one while a
/// host name is looked up. A moved-from transport can only be destroyed or assigned to.
class beast_transport {
 public:
  /// What it can and cannot do.
  static constexpr transport_traits traits {
    .name = "beast",
#if !defined(BOOST_ASIO_HAS_LOCAL_SOCKETS)
    .unix_sockets = false,
#endif
  };

  beast_transport() : beast_transport(transport_options{}) {}
  /// With these settings.
  explicit beast_transport(transport_options options)
      : state_(std::make_unique<state>(std::move(options))) {}

  /// Performs one request; see `hf::transport` for the rules and errors.
  void send(http::request const& rq, http::response_sink& sink) {
    auto const target = detail::validate_request(rq);
    detail::check_not_over(rq);
    auto const proxy = detail::parse_proxy(
        rq.unix_socket.empty() ? detail::proxy_for(target, state_->options.proxy) : "");
    auto const tls = detail::merge_tls(rq.tls, state_->options.tls);
    bool const absolute = proxy.present() && !target.tls();
    auto const head = detail::request_head(rq, target, state_->options.user_agent, absolute,
                                           absolute ? proxy.authorization() : "");
    auto const peer = pool_key(rq, target, proxy, tls);

    detail::request_clock clock(rq);
    auto connection = state_->pool.take(peer);
    while (connection && !connection->still_good())
      connection = state_->pool.take(peer);
    if (connection && !attempt(*connection, rq, head, target, clock, sink))
      connection.reset();
    if (!connection) {
      auto context = target.tls() ? state_->contexts.get(tls) : nullptr;
      clock = detail::request_clock(rq);
      connection = std::make_unique<detail::beast_connection>();
      waker const wake(*connection, rq);
      detail::beast_connector(*connection, rq, target, proxy, clock).open(std::move(context));
      if (!perform(*connection, rq, head, target, clock, sink))
        return;
    }
    if (connection->socket().is_open())
      state_->pool.give_back(peer, std::move(connection));
  }

 private:
  struct state {
    explicit state(transport_options o)
        : options(std::move(o)), pool(options.max_idle_connections) {}
    transport_options options;
    detail::beast_tls_contexts contexts;
    detail::connection_pool<detail::beast_connection> pool;
  };

  /// Makes a stop request end the wait of a connection's loop.
  class waker {
   public:
    waker(detail::beast_connection& connection, http::request const& rq)
        : callback_(rq.stop, wake{&connection}) {}

   private:
    struct wake {
      detail::beast_connection* connection;
      void operator()() const {
        boost::asio::post(connection->context(), [] {});
      }
    };
    stop_callback<wake> callback_;
  };

  static std::string pool_key(http::request const& rq, http::url const& target,
                              detail::proxy_address const& proxy, http::tls_settings const& tls) {
    auto key = target.origin() + '\n' + rq.unix_socket + '\n' + rq.connection_group;
    if (proxy.present())
      key += '\n' + proxy.host + ':' + std::to_string(proxy.port) + proxy.authorization();
    if (target.tls())
      key += '\n' + tls.ca_file + '\n' + tls.ca_path + '\n' + tls.cert_file + '\n' + tls.key_file;
    return key;
  }

  /// Performs the request on an open connection. False: the connection is used up.
  static bool perform(detail::beast_connection& connection, http::request const& rq,
                      std::string const& head, http::url const& target,
                      detail::request_clock& clock, http::response_sink& sink) {
    auto const origin = target.origin();
    detail::beast_exchange exchange(connection, rq, head, origin, clock, sink);
    exchange.run();
    return exchange.reusable();
  }

  /// Performs the request on a pooled connection. False: it was gone before it took a byte.
  static bool attempt(detail::beast_connection& connection, http::request const& rq,
                      std::string const& head, http::url const& target,
                      detail::request_clock& clock, http::response_sink& sink) {
    waker const wake(connection, rq);
    auto const origin = target.origin();
    detail::beast_exchange exchange(connection, rq, head, origin, clock, sink);
    try {
      exchange.run();
    } catch (error const&) {
      if (!exchange.untouched())
        throw;
      return false;
    }
    return true;
  }

  std::unique_ptr<state> state_;
};

static_assert(transport<beast_transport>);

}  // namespace hf

#endif
