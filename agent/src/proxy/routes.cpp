#include "proxy/routes.hpp"

#include "http/target.hpp"
#include "proxy/backend.hpp"
#include "proxy/fields.hpp"
#include "proxy/tunnel.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>

namespace hf::agent {
namespace {

constexpr std::uint64_t small_body = 64 * 1024;
constexpr std::size_t longest_reason = 256;

struct destination {
  std::uint16_t port = 0;
  /// Path and query as the server shall see them.
  std::string target;
  proxy_names names;
};

/// `port_at`: which segment of the path is the port.
destination parse_destination(request_head const& head, std::size_t port_at) {
  auto const refuse = [] {
    throw http_error(404, "not_found",
                     "proxy target must be /proxy/<port>/<path>, with port in 1-65535");
  };
  if (head.path.size() <= port_at || head.path[port_at].empty() || head.path[port_at].size() > 5)
    refuse();
  destination where;
  std::uint32_t port = 0;
  for (char const c : head.path[port_at]) {
    if (c < '0' || c > '9')
      refuse();
    port = port * 10 + static_cast<std::uint32_t>(c - '0');
  }
  if (port < 1 || port > 65535)
    refuse();
  where.port = static_cast<std::uint16_t>(port);

  std::string_view rest = target_path(head.target);
  for (std::size_t segment = 0; segment <= port_at; ++segment) {
    while (!rest.empty() && rest.front() == '/')
      rest.remove_prefix(1);
    auto const slash = rest.find('/');
    rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash);
  }
  where.target = rest.empty() ? "/" : std::string(rest);
  if (head.target.find('?') != std::string::npos)
    where.target += "?" + head.raw_query;
  for (std::size_t segment = 0; segment <= port_at; ++segment)
    where.names.prefix += "/" + head.path[segment];
  where.names.outside = std::string(head.field("host"));
  where.names.far_outside = std::string(head.field("x-forwarded-host"));
  where.names.inside = "localhost:" + head.path[port_at];
  return where;
}

// Throws what goes wrong on the caller's side; a server that stops reading may still answer.
asio::awaitable<void> upload(exchange& from, backend& to, bool chunked) {
  auto const piece = std::make_unique<char[]>(small_body);
  for (;;) {
    std::size_t const n = co_await from.read_some(asio::buffer(piece.get(), small_body));
    char size[20];
    int const digits = std::snprintf(size, sizeof size, "%zx\r\n", n);
    iovec parts[] = {
        {size, static_cast<std::size_t>(digits)}, {piece.get(), n}, {const_cast<char*>("\r\n"), 2}};
    std::span<iovec> const framed = parts;
    try {
      co_await to.socket().write(chunked ? framed : framed.subspan(1, 1),
                                 stream::clock::duration::zero());
    } catch (boost::system::system_error const&) {
      co_return;
    }
    if (n == 0)
      co_return;
  }
}

// The caller's body on its way while the answer is already awaited: a server may answer early.
class background_upload {
 public:
  background_upload(context& shared, exchange& call, backend& server)
      : shared_(shared),
        call_(call),
        server_(server),
        ended_(shared.loop, asio::steady_timer::time_point::max()) {}

  void start(bool chunked) {
    running_ = true;
    asio::co_spawn(shared_.loop, upload(call_, server_, chunked),
                   asio::bind_cancellation_slot(
                       stop_.slot(), [this](std::exception_ptr failed) { finished(failed); }));
  }

  /// Breaks the upload off if it still runs; this object must not die before.
  asio::awaitable<void> end() {
    if (running_)
      stop_.emit(asio::cancellation_type::terminal);
    while (running_)
      co_await ended_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  /// Why the caller's side failed, if it did.
  [[nodiscard]] std::exception_ptr const& failure() const { return failure_; }

 private:
  void finished(std::exception_ptr const& failed) {
    running_ = false;
    ended_.cancel();
    if (!failed)
      return;
    try {
      std::rethrow_exception(failed);
    } catch (boost::system::system_error const& error) {
      // A server that stops reading may still answer; only a lost caller ends it all.
      bool const server_gone = error.code() == boost::system::errc::broken_pipe ||
                               error.code() == boost::system::errc::connection_reset;
      if (server_gone || error.code() == asio::error::operation_aborted)
        return;
      failure_ = failed;
    } catch (...) {
      failure_ = failed;
    }
    server_.stop();
  }

  context& shared_;
  exchange& call_;
  backend& server_;
  asio::steady_timer ended_;
  asio::cancellation_signal stop_;
  std::exception_ptr failure_;
  bool running_ = false;
};

asio::awaitable<void> switch_protocols(context& shared, deadlines& timers, exchange& call,
                                       backend& server, backend::answer& answer) {
  std::string early;
  stream caller(shared.loop, timers, unique_fd(call.take_over(early)));
  std::string greeting = std::move(answer.raw_head);
  greeting += server.received();
  iovec part{greeting.data(), greeting.size()};
  co_await caller.write({&part, 1}, std::chrono::seconds(120));
  if (!early.empty())
    co_await server.write(early);
  co_await tunnel(shared.loop, caller, server.socket());
}

asio::awaitable<void> exchange_with(context& shared, deadlines& timers, exchange& call,
                                    destination const& where, proxy_place const& place,
                                    backend& server, background_upload& body) {
  request_head const& head = call.head();
  bool const chunked = !call.content_length().has_value();
  std::uint64_t const length = call.content_length().value_or(0);
  bool const upgrade = wants_upgrade(head) && !chunked && length == 0;
  bool const bodied = chunked || length > 0 || !head.field("content-length").empty();

  co_await server.connect(place, where.port);
  std::string request =
      forwarded_head(head, where.target, chunked,
                     bodied && !chunked ? std::optional<std::uint64_t>(length) : std::nullopt,
                     upgrade, where.names);
  bool const small = !chunked && length <= small_body;
  if (small && length > 0)
    request += co_await call.read_all(small_body);
  co_await server.write(request);
  if (!small)
    body.start(chunked);
  if (!upgrade)
    call.on_caller_gone([&server] { server.stop(); });

  backend::answer answer;
  co_await server.read_head(answer, head.method == "HEAD");
  if (upgrade && answer.parser.status == 101) {
    co_await switch_protocols(shared, timers, call, server, answer);
    co_return;
  }
  // Nothing else is a final status (RFC 9110, 15).
  if (answer.parser.status < 200)
    throw http_error(502, "protocol_error",
                     "the server on port " + std::to_string(where.port) + " answered with status " +
                         std::to_string(answer.parser.status));
  raw_answer passed;
  passed.status = answer.parser.status;
  // Some clients are not up to a long one, and none needs it.
  if (answer.parser.reason.size() <= longest_reason)
    passed.reason = std::move(answer.parser.reason);
  passed.fields = answer_fields(answer.parser.fields, where.names);
  // A 204 has no body, so it must not tell the length of one (RFC 9110, 8.6).
  if (answer.parser.status != 204)
    passed.content_length = answer.length;
  passed.no_body = head.method == "HEAD" || passed.status == 204 || passed.status == 304;
  bool const no_body = passed.no_body;
  co_await call.begin_raw(std::move(passed));
  if (!no_body)
    co_await server.relay_body(answer, call);
  co_await call.finish();
}

asio::awaitable<void> forward(context& shared, deadlines& timers, exchange& call, proxy_place place,
                              std::size_t port_at) {
  destination const where = parse_destination(call.head(), port_at);
  backend server(shared, timers);
  background_upload body(shared, call, server);
  std::exception_ptr failed;
  try {
    co_await exchange_with(shared, timers, call, where, place, server, body);
  } catch (...) {
    failed = std::current_exception();
  }
  co_await body.end();
  call.on_caller_gone({});
  if (body.failure())
    failed = body.failure();
  if (failed)
    std::rethrow_exception(failed);
}

}  // namespace

void add_proxy_routes(router& routes, context& shared, std::string_view prefix,
                      proxy_place_of place_of) {
  auto timers = std::make_shared<deadlines>(shared.loop);
  // "/v1" is one segment, then "proxy", then the port.
  auto const port_at = static_cast<std::size_t>(std::count(prefix.begin(), prefix.end(), '/')) + 1;
  routes.add("*", std::string(prefix) + "/proxy/{port_and_rest...}",
             [&shared, timers, place_of, port_at](exchange& call) {
               return forward(shared, *timers, call, place_of(call), port_at);
             });
}

}  // namespace hf::agent
