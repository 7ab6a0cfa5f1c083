#ifndef HF_SANDBOX_TRANSPORTS_HTTPLIB_HPP
#define HF_SANDBOX_TRANSPORTS_HTTPLIB_HPP

#include <hf/sandbox/detail/connection_pool.hpp>
#include <hf/sandbox/detail/merge_tls.hpp>
#include <hf/sandbox/detail/proxy.hpp>
#include <hf/sandbox/detail/request_clock.hpp>
#include <hf/sandbox/detail/resolver.hpp>
#include <hf/sandbox/detail/validate_request.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/http/transport_traits.hpp>
#include <hf/sandbox/http/url.hpp>
#include <hf/sandbox/transports/httplib/connection.hpp>
#include <hf/sandbox/transports/httplib/exchange.hpp>
#include <hf/sandbox/transports/options.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace hf {

/// HTTP through cpp-httplib (0.11 or later) with OpenSSL. The library writes requests; sockets,
/// TLS and answers are handled here, because its parser of answers is not made for hostile peers.
///
/// Models `hf::transport` with the deviations that `traits` lists: it is for programs that use
/// cpp-httplib already. Proxies, and TLS over unix sockets, are `errc::unsupported`. `send` blocks,
/// and may be called from any number of threads at once; each call takes a pooled connection. A
/// moved-from transport can only be destroyed or assigned to.
class httplib_transport {
 public:
  /// What it can and cannot do.
  static constexpr transport_traits traits {
    .name = "httplib",
#if defined(_WIN32)
    .unix_sockets = false,
#endif
    .proxies = false, .answers_while_sending = false
  };

  httplib_transport() : httplib_transport(transport_options{}) {}
  /// With these settings.
  explicit httplib_transport(transport_options options)
      : state_(std::make_unique<state>(std::move(options))) {}

  /// Performs one request; see `hf::transport` for the rules and errors.
  void send(http::request const& rq, http::response_sink& sink) {
    auto const target = detail::validate_request(rq);
    detail::check_not_over(rq);
    auto const tls = detail::merge_tls(rq.tls, state_->options.tls);
    refuse_unsupported(rq, target);
    auto peer = target.origin() + '\n' + rq.unix_socket + '\n' + rq.connection_group;
    if (target.tls())
      peer += '\n' + tls.ca_file + '\n' + tls.ca_path + '\n' + tls.cert_file + '\n' + tls.key_file;

    auto connection = state_->pool.take(peer);
    while (connection && !connection->socket.still_good())
      connection = state_->pool.take(peer);
    detail::request_clock clock(rq);
    perform(connection, rq, target, tls, clock, sink);
    if (connection)
      state_->pool.give_back(std::move(peer), std::move(connection));
  }

 private:
  using connection_ptr = std::unique_ptr<detail::httplib_connection>;

  struct state {
    explicit state(transport_options o)
        : options(std::move(o)), pool(options.max_idle_connections) {}
    transport_options options;
    detail::connection_pool<detail::httplib_connection> pool;
  };

  void refuse_unsupported(http::request const& rq, http::url const& target) const {
    if (rq.unix_socket.empty()) {
      if (!detail::proxy_for(target, state_->options.proxy).empty())
        throw error(errc::unsupported, "httplib_transport does not support proxies; " +
                                           target.origin() + " would need one");
      return;
    }
    if (!traits.unix_sockets)
      throw error(errc::unsupported, "httplib_transport has no unix sockets on this platform");
    if (target.tls())
      throw error(errc::unsupported, "httplib_transport has no TLS over unix sockets");
  }

  /// Sends over the given connection, or over a new one to the first address that answers. Leaves
  /// null when the connection cannot be used again.
  void perform(connection_ptr& connection, http::request const& rq, http::url const& target,
               http::tls_settings const& tls, detail::request_clock& clock,
               http::response_sink& sink) {
    bool const pooled = connection != nullptr;
    std::vector<std::string> addresses{""};
    if (!pooled && rq.unix_socket.empty())
      addresses = detail::resolve(target.host, rq, clock);
    auto const origin = rq.unix_socket.empty() ? target.origin() : rq.unix_socket;
    for (std::size_t i = 0; !pooled && i < addresses.size(); ++i) {
      connection = std::make_unique<detail::httplib_connection>(target);
      connection->socket.serve(rq, clock, origin);
      try {
        connection->socket.connect(addresses[i], target.port);
        break;
      } catch (error const& e) {
        if (e.kind() != errc::connect_failed || i + 1 == addresses.size())
          throw;
      }
    }
    connection->socket.serve(rq, clock, origin);
    if (!pooled && target.tls())
      connection->socket.start_tls(target.host, tls);
    detail::httplib_exchange exchange(*connection, rq, target, state_->options.user_agent, clock,
                                      sink);
    exchange.run();
    if (!exchange.whole())
      connection.reset();
  }

  std::unique_ptr<state> state_;
};

static_assert(transport<httplib_transport>);

}  // namespace hf

#endif
