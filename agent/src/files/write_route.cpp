#include "detail/released_on.hpp"
#include "detail/run_blocking.hpp"
#include "files/failure.hpp"
#include "files/file_call.hpp"
#include "files/operations.hpp"
#include "files/parameters.hpp"
#include "files/pending_write.hpp"

#include <hf/sandbox/wire/files.hpp>

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace hf::agent {
namespace {

constexpr std::size_t received_at_once = 64 * 1024;
/// Bodies up to here are compared when an operation is repeated; of larger ones only the length.
constexpr std::uint64_t compared_body = 1 << 20;
/// Of a body that could not be written; then the connection is closed.
constexpr std::uint64_t dropped_after_failure = 64 << 20;

/// Devices and files of the kernel: whole pieces in order, by plain writes.
asio::awaitable<std::uint64_t> receive_ordered(file_call const& call, pending_write& pending) {
  std::string buffer(received_at_once, '\0');
  std::uint64_t received = 0;
  for (;;) {
    std::size_t filled = 0;
    while (filled < buffer.size()) {
      auto const rest = asio::buffer(buffer.data() + filled, buffer.size() - filled);
      auto const n = co_await call.ex.read_some(rest);
      if (n == 0)
        break;
      filled += n;
    }
    if (filled == 0 && received > 0)
      co_return received;
    std::string_view const piece(buffer.data(), filled);
    co_await run_blocking(call.shared.blocking, [&pending, piece] { pending.append(piece); });
    received += filled;
    if (filled < buffer.size())
      co_return received;
  }
}

asio::awaitable<std::uint64_t> receive(file_call const& call, pending_write& pending,
                                       std::optional<std::string> const& body) {
  if (body) {
    co_await run_blocking(call.shared.blocking, [&pending, &body] { pending.append(*body); });
    co_return body->size();
  }
  if (pending.ordered())
    co_return co_await receive_ordered(call, pending);
  int failed = 0;
  try {
    co_return co_await call.ex.receive_into_file(pending.fd(), pending.offset());
  } catch (file_error const& error) {
    failed = error.code().value();
  }
  throw_file_error(failed, "write", pending.shown());
}

write_request write_request_of(exchange const& ex) {
  file_parameters const parameters(ex.head());
  write_request request;
  request.path = parameters.path();
  request.offset = parameters.number("offset");
  request.mode = parameters.mode();
  request.make_parents = parameters.flag("mkdir", true);
  request.truncate_to = parameters.number("truncate_to");
  auto const atomic = parameters.text("atomic");
  if (!atomic.empty() && atomic != "require")
    throw http_error{400, "invalid_argument",
                     "malformed 'atomic' query parameter: only 'require' is known"};
  request.require_atomic = atomic == "require";
  constexpr auto largest = static_cast<std::uint64_t>((std::numeric_limits<std::int64_t>::max)());
  if (ex.content_length().value_or(0) > largest - request.offset.value_or(0))
    throw http_error{400, "invalid_argument", "'offset' plus the body is larger than any file"};
  return request;
}

/// Reads what is left of the body, up to `limit` bytes: many callers look for an answer only when
/// they have sent everything.
asio::awaitable<void> drop_body(exchange& ex, std::uint64_t limit) {
  std::string buffer(received_at_once, '\0');
  auto const space = asio::buffer(buffer.data(), buffer.size());
  for (std::uint64_t dropped = 0; dropped < limit;) {
    auto const n = co_await ex.read_some(space);
    if (n == 0)
      co_return;
    dropped += n;
  }
}

}  // namespace

asio::awaitable<void> write_route(file_call call) {
  auto const active = call.shared.activity.hold();
  auto const request = write_request_of(call.ex);
  auto const op = file_parameters(call.ex.head()).operation();
  std::optional<std::string> body;
  auto const length = call.ex.content_length();
  if (!op.empty() && length && *length <= compared_body)
    body = co_await call.ex.read_all(compared_body);
  auto ticket = co_await call.operations->enter(call.ex, call.shared, op, body.value_or(""));
  if (ticket.replayed()) {
    if (!body)
      co_await drop_body(call.ex, (std::numeric_limits<std::uint64_t>::max)());
    co_await call.ex.respond(ticket.answer().status, ticket.answer().body);
    co_return;
  }
  auto& pool = call.shared.blocking;
  released_on<std::unique_ptr<pending_write>> held(pool, nullptr);
  *held = co_await run_blocking(
      pool, [&call, &request] { return std::make_unique<pending_write>(*call.root, request); });
  auto const discard = [&held] { held->reset(); };
  pending_write& pending = **held;
  wire::write_result result;
  std::optional<http_error> failed;
  try {
    result.size = co_await receive(call, pending, body);
  } catch (http_error const& error) {
    failed = error;
  }
  if (failed) {
    co_await run_blocking(pool, discard);
    co_await drop_body(call.ex, dropped_after_failure);
    throw *failed;
  }
  co_await run_blocking(pool, [&pending, &result, &discard] {
    try {
      pending.finish(result.size);
    } catch (...) {
      discard();
      throw;
    }
  });
  result.path = pending.shown();
  result.atomic = request.offset.has_value() || pending.atomic();
  auto const answer = wire::write_result_to_json(result);
  ticket.complete(answer);
  co_await call.ex.respond(200, answer);
}

}  // namespace hf::agent
