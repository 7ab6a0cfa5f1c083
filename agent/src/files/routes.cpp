#include "files/routes.hpp"

#include "detail/run_blocking.hpp"
#include "files/entry.hpp"
#include "files/failure.hpp"
#include "files/list.hpp"
#include "files/parameters.hpp"
#include "files/pending_write.hpp"
#include "files/read.hpp"
#include "files/remove.hpp"
#include "files/resolve.hpp"

#include <hf/sandbox/wire/files.hpp>

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <string>
#include <utility>

namespace hf::agent {
namespace {

using root_pointer = std::shared_ptr<file_root const>;
using nothing = asio::awaitable<void>;

constexpr std::size_t piece_size = 64 * 1024;
constexpr std::string_view bytes_type = "application/octet-stream";
constexpr std::string_view json_type = "application/json";

/// Files of unknown size: piece by piece to the end.
nothing send_pieces(exchange& ex, context& shared, readable_file const& file, std::uint64_t offset,
                    std::uint64_t length) {
  auto const read = [&file, &offset, &length] {
    return read_piece(file, offset,
                      static_cast<std::size_t>((std::min<std::uint64_t>)(piece_size, length)));
  };
  // The first read comes before the head, so that its failure is an answer.
  std::string piece = co_await run_blocking(shared.blocking, read);
  if (piece.empty()) {
    co_await ex.begin(200, bytes_type, 0);
    co_await ex.finish();
    co_return;
  }
  co_await ex.begin(200, bytes_type, std::nullopt);
  while (!piece.empty() && ex.head().method != "HEAD") {
    co_await ex.write(piece);
    offset += piece.size();
    length -= piece.size();
    if (length == 0)
      break;
    piece = co_await run_blocking(shared.blocking, read);
  }
  co_await ex.finish();
}

nothing read_route(exchange& ex, context& shared, root_pointer root) {
  auto const active = shared.activity.hold();
  file_parameters const parameters(ex.head());
  auto const path = parameters.path();
  auto const offset = parameters.number("offset").value_or(0);
  auto const length =
      parameters.number("length").value_or((std::numeric_limits<std::uint64_t>::max)());
  readable_file const file = co_await run_blocking(
      shared.blocking, [&root, &path] { return open_for_reading(*root, path); });
  if (!file.size_known) {
    co_await send_pieces(ex, shared, file, offset, length);
    co_return;
  }
  auto const rest = file.size > offset ? (std::min)(file.size - offset, length) : 0;
  co_await ex.begin(200, bytes_type, rest);
  if (rest > 0 && ex.head().method != "HEAD")
    co_await ex.send_file(file.fd.get(), offset, rest);
  co_await ex.finish();
}

/// Devices and files of the kernel: whole pieces in order, by plain writes.
asio::awaitable<std::uint64_t> receive_ordered(exchange& ex, context& shared,
                                               pending_write& pending) {
  std::string buffer(piece_size, '\0');
  std::uint64_t received = 0;
  for (;;) {
    std::size_t filled = 0;
    while (filled < buffer.size()) {
      auto const n =
          co_await ex.read_some(asio::buffer(buffer.data() + filled, buffer.size() - filled));
      if (n == 0)
        break;
      filled += n;
    }
    if (filled == 0 && received > 0)
      co_return received;
    std::string_view const piece(buffer.data(), filled);
    co_await run_blocking(shared.blocking, [&pending, piece] {
      pending.append(piece);
      return true;
    });
    received += filled;
    if (filled < buffer.size())
      co_return received;
  }
}

asio::awaitable<std::uint64_t> receive(exchange& ex, context& shared, pending_write& pending) {
  if (pending.ordered())
    co_return co_await receive_ordered(ex, shared, pending);
  int failed = 0;
  try {
    co_return co_await ex.receive_into_file(pending.fd(), pending.offset());
  } catch (file_error const& error) {
    failed = error.code().value();
  }
  throw_file_error(failed, "write", pending.shown());
}

write_request write_request_of(exchange& ex) {
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

nothing write_route(exchange& ex, context& shared, root_pointer root) {
  auto const active = shared.activity.hold();
  auto const request = write_request_of(ex);
  pending_write pending = co_await run_blocking(
      shared.blocking, [&root, &request] { return pending_write(*root, request); });
  wire::write_result result;
  result.size = co_await receive(ex, shared, pending);
  co_await run_blocking(shared.blocking, [&pending, &result] {
    pending.finish(result.size);
    return true;
  });
  result.path = pending.shown();
  result.atomic = request.offset.has_value() || pending.atomic();
  auto const answer = wire::write_result_to_json(result);
  co_await ex.respond(200, answer);
}

nothing list_route(exchange& ex, context& shared, root_pointer root) {
  auto const active = shared.activity.hold();
  file_parameters const parameters(ex.head());
  auto const path = parameters.path();
  auto const after = parameters.text("after");
  auto const limit = static_cast<std::size_t>(
      (std::min<std::uint64_t>)(parameters.number("limit").value_or(directory_page::default_limit),
                                directory_page::max_limit));
  directory_page page = co_await run_blocking(shared.blocking, [&root, &path, &after, limit] {
    return directory_page(*root, path, limit, after);
  });
  auto const next = [&page] { return page.next_piece(); };
  std::string piece = co_await run_blocking(shared.blocking, next);
  std::optional<std::uint64_t> known_length;
  if (page.ended())
    known_length = piece.size();
  co_await ex.begin(200, json_type, known_length);
  while (!piece.empty()) {
    co_await ex.write(piece);
    piece.clear();
    if (!page.ended())
      piece = co_await run_blocking(shared.blocking, next);
  }
  co_await ex.finish();
}

nothing stat_route(exchange& ex, context& shared, root_pointer root) {
  auto const active = shared.activity.hold();
  auto const path = file_parameters(ex.head()).path();
  auto const entry =
      co_await run_blocking(shared.blocking, [&root, &path] { return stat_file(*root, path); });
  auto const answer = wire::file_entry_to_json(entry);
  co_await ex.respond(200, answer);
}

nothing delete_route(exchange& ex, context& shared, root_pointer root) {
  auto const active = shared.activity.hold();
  file_parameters const parameters(ex.head());
  auto const path = parameters.path();
  bool const recursive = parameters.flag("recursive", false);
  auto const deleted = co_await run_blocking(
      shared.blocking, [&root, &path, recursive] { return remove_file(*root, path, recursive); });
  json answer = json::object();
  wire::detail::put_bytes(answer, "deleted", deleted);
  co_await ex.respond(200, answer);
}

nothing mkdir_route(exchange& ex, context& shared, root_pointer root) {
  auto const active = shared.activity.hold();
  auto const path = file_parameters(ex.head()).path();
  auto const created = co_await run_blocking(
      shared.blocking, [&root, &path] { return ensure_directory(*root, path); });
  json answer = json::object();
  wire::detail::put_bytes(answer, "created", created);
  co_await ex.respond(200, answer);
}

}  // namespace

void add_files_routes(router& routes, context& shared, std::string_view prefix,
                      file_root_of root_of) {
  using route = nothing (*)(exchange&, context&, root_pointer);
  auto const add = [&](std::string_view method, std::string_view name, route handle) {
    routes.add(
        method, std::string(prefix) + "/files/" + std::string(name),
        [&shared, root_of, handle](exchange& ex) { return handle(ex, shared, root_of(ex)); });
  };
  add("GET", "read", read_route);
  add("PUT", "write", write_route);
  add("GET", "list", list_route);
  add("GET", "stat", stat_route);
  add("DELETE", "delete", delete_route);
  add("POST", "mkdir", mkdir_route);
}

void add_files_routes(router& routes, context& shared) {
  auto const machine = std::make_shared<file_root const>();
  add_files_routes(routes, shared, "/v1", [machine](exchange&) { return machine; });
}

json files_features() {
  json features = json::object();
  features["files_atomic_write"] = true;
  features["files_byte_names"] = true;
  return features;
}

}  // namespace hf::agent
