#include "http/session.hpp"

#include "http/auth.hpp"
#include "http/server.hpp"
#include "http/target.hpp"

#include <hf/sandbox/wire/routes.hpp>

#include <boost/asio/error.hpp>
#include <sys/socket.h>

#include <cerrno>
#include <exception>
#include <new>
#include <utility>

namespace hf::agent {
namespace {

bool is_exhaustion(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS ||
         error == EAGAIN;
}

// Whether a path belongs to an agent with many sandboxes, or to one that is the sandbox.
bool is_of_other_mode(std::vector<std::string> const& path, bool host_mode) {
  if (path.size() < 2 || path[0] != "v1")
    return false;
  if (!host_mode)
    return path[1] == "sandboxes";
  for (std::string_view const family : {"exec", "processes", "ops", "files", "proxy"})
    if (path[1] == family)
      return true;
  return false;
}

http_error exhausted(std::string message) {
  return {503, "resource_exhausted", std::move(message)};
}

}  // namespace

session::session(server& owner, unique_fd socket)
    : owner_(owner),
      stream_(owner.shared().loop, owner.timers(), std::move(socket)),
      opened_(stream::clock::now()) {
  ++owner_.sessions_;
}

session::~session() {
  --owner_.sessions_;
}

asio::any_io_executor session::executor() {
  return owner_.shared().loop.get_executor();
}

asio::awaitable<void> session::run() {
  try {
    while (co_await serve_one()) {
    }
  } catch (std::exception const&) {
    // The connection broke, or there is no memory to go on with it.
  }
  if (!taken_over_)
    stream_.close();
}

asio::awaitable<bool> session::serve_one() {
  reset_request();
  std::optional<http_error> error;
  try {
    if (!co_await read_head())
      co_return false;
  } catch (http_error& refused) {
    error.emplace(std::move(refused));
  }
  if (error) {
    co_await refuse(std::move(*error));
    co_return false;
  }
  first_ = false;

  co_await dispatch();

  if (taken_over_)
    co_return false;
  if (begun_ && output_ == output::chunked)
    co_await finish();
  if (begun_ && output_ == output::length && output_left_ > 0 && !bodiless_)
    co_return false;
  if (!keep_alive_ || owner_.stopping() || !co_await drop_body()) {
    co_await close_politely();
    co_return false;
  }
  co_return true;
}

void session::reset_request() {
  head_ = request_head();
  parser_.reset();
  framing_ = body_framing();
  body_left_ = 0;
  continue_wanted_ = false;
  authorised_ = false;
  begun_ = false;
  keep_alive_ = false;
  bodiless_ = false;
  output_ = output::none;
  output_left_ = 0;
  pending_head_ = std::string();
}

asio::awaitable<bool> session::read_head() {
  auto const& allowed = owner_.options().allowed;
  if (buffered().empty()) {
    input_ = std::string();
    used_ = 0;
    auto const now = stream::clock::now();
    auto const deadline = first_ ? opened_ + allowed.head : now + allowed.keep_alive;
    try {
      if (co_await fill(deadline) == 0)
        co_return false;
    } catch (boost::system::system_error const&) {
      // Nothing was asked, so nothing is answered.
      co_return false;
    }
  }
  auto const deadline = (first_ ? opened_ : stream::clock::now()) + allowed.head;
  // An empty line in front of a request is left over from sloppy clients (RFC 9112, 2.2).
  while (buffered() == "\r")
    if (co_await fill(deadline) == 0)
      co_return false;
  if (buffered().substr(0, 2) == "\r\n")
    consume(2);

  head_scanner scanner;
  std::optional<std::size_t> length;
  for (;;) {
    length = scanner.scan(buffered(), allowed);
    if (length)
      break;
    std::size_t received = 0;
    bool late = false;
    try {
      received = co_await fill(deadline);
    } catch (boost::system::system_error const& failed) {
      if (failed.code() != asio::error::timed_out)
        throw;
      late = true;
    }
    if (late)
      throw http_error{
          408,
          "request_timed_out",
          "the request head did not arrive in time",
      };
    if (received == 0)
      throw http_error{400, "protocol_error", "the request head is incomplete"};
  }
  parser_.emplace();
  framing_ = parse_head(buffered().substr(0, *length), *parser_, head_);
  consume(*length);
  body_left_ = framing_.length;
  continue_wanted_ = framing_.expects_continue && !body_complete();
  if (!framing_.chunked)
    parser_.reset();
  co_return true;
}

bool session::authorise() {
  if (auto const& authorise = owner_.options().authorise)
    return authorise(head_);
  auto const& token = owner_.options().token;
  if (token.empty())
    return true;
  return equal_in_constant_time(token, head_.field("x-sandbox-token"));
}

asio::awaitable<void> session::dispatch() {
  authorised_ = authorise();
  if (target_path(head_.target) == wire::health_route &&
      (head_.method == "GET" || head_.method == "HEAD")) {
    co_await answer_health();
    co_return;
  }
  if (!authorised_) {
    co_await answer_error({403, "unauthenticated", "invalid or missing X-Sandbox-Token"});
    co_return;
  }
  owner_.shared().activity.touch();
  bool path_known = false;
  handler const* const handle = owner_.routes().find(head_.method, head_.path, path_known);
  if (handle == nullptr) {
    std::string text = is_of_other_mode(head_.path, owner_.options().host_mode)
                           ? "no route in this server mode: "
                           : "no route: ";
    text.append(head_.method).append(" ").append(target_path(head_.target));
    co_await answer_error({404, "not_found", std::move(text)});
    co_return;
  }
  co_await call(*handle);
}

asio::awaitable<void> session::call(handler const& handle) {
  auto const active = owner_.shared().activity.hold();
  std::optional<http_error> error;
  std::exception_ptr lost;
  try {
    // What waits for the caller to go must not outlive the route, also one that a broken connection
    // ends: it works on what the route holds.
    struct end_of_route {
      session& of;
      ~end_of_route() {
        of.stop_watching();
        of.gone_ = nullptr;
      }
    } const end{*this};
    co_await handle(*this);
    if (!begun_ && !taken_over_)
      error.emplace(http_error{500, "internal", "the route gave no answer"});
  } catch (http_error& refused) {
    error.emplace(std::move(refused));
  } catch (file_error const& failed) {
    error.emplace(http_error{500, "io_error", failed.code().message()});
  } catch (boost::system::system_error const& failed) {
    if (failed.code() == asio::error::timed_out)
      error.emplace(
          http_error{408, "request_timed_out", "the request body did not arrive in time"});
    else if (failed.code().category() == boost::system::system_category() &&
             is_exhaustion(failed.code().value()))
      error.emplace(exhausted(failed.code().message()));
    else
      lost = std::current_exception();
  } catch (std::bad_alloc const&) {
    error.emplace(exhausted("out of memory"));
  } catch (std::system_error const& failed) {
    if (is_exhaustion(failed.code().value()))
      error.emplace(exhausted(failed.code().message()));
    else
      error.emplace(http_error{500, "internal", failed.code().message()});
  } catch (std::exception const& failed) {
    error.emplace(http_error{500, "internal", failed.what()});
  }
  if (lost)
    std::rethrow_exception(lost);
  if (!error)
    co_return;
  if (begun_ || taken_over_) {
    // Too late for a status: only a broken connection says that the answer is not whole.
    keep_alive_ = false;
    throw boost::system::system_error(asio::error::connection_aborted);
  }
  if (error->status == 408)
    head_.keep_alive = false;
  co_await answer_error(std::move(*error));
}

asio::awaitable<void> session::answer_health() {
  json answer = {{"status", "ok"}, {"protocol", wire::protocol_version}};
  if (authorised_ && owner_.options().health_details)
    answer.update(owner_.options().health_details());
  co_await respond(200, answer);
}

asio::awaitable<void> session::answer_error(http_error error) {
  if (error.status >= 500 || error.status == 408)
    log_refusal(error);
  json answer = error.extra.is_object() ? std::move(error.extra) : json::object();
  answer["error"] = std::move(error.message);
  if (!error.code.empty())
    answer["code"] = std::move(error.code);
  co_await respond(error.status, answer);
}

asio::awaitable<void> session::refuse(http_error error) {
  log_refusal(error);
  json const answer = {{"error", error.message}, {"code", error.code}};
  head_.keep_alive = false;
  head_.method.clear();
  authorised_ = false;
  co_await respond(error.status, answer);
  co_await close_politely();
}

void session::log_refusal(http_error const& error) {
  owner_.log().line("request refused: " + std::to_string(error.status) + " " + error.message);
}

asio::awaitable<void> session::close_politely() {
  // Closed with unread bytes in it, the kernel sends a reset, which can destroy the last answer
  // before the caller has read it.
  ::shutdown(stream_.fd(), SHUT_WR);
  auto const& allowed = owner_.options().allowed;
  auto const until = stream::clock::now() + allowed.linger;
  std::uint64_t dropped = 0;
  input_ = std::string();
  used_ = 0;
  while (dropped < allowed.linger_bytes && stream::clock::now() < until) {
    auto& scratch = owner_.scratch();
    ssize_t const n = ::recv(stream_.fd(), scratch.data(), scratch.size(), MSG_DONTWAIT);
    if (n == 0)
      break;
    if (n > 0) {
      dropped += static_cast<std::uint64_t>(n);
      continue;
    }
    if (errno == EINTR)
      continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK)
      break;
    co_await stream_.wait_readable(until);
  }
}

}  // namespace hf::agent
