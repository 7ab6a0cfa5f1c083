#include "files/routes.hpp"

#include "detail/released_on.hpp"
#include "detail/run_blocking.hpp"
#include "files/entry.hpp"
#include "files/file_call.hpp"
#include "files/list.hpp"
#include "files/operations.hpp"
#include "files/parameters.hpp"
#include "files/read.hpp"
#include "files/remove.hpp"
#include "files/resolve.hpp"

#include <hf/sandbox/wire/files.hpp>

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <utility>

namespace hf::agent {
namespace {

using nothing = asio::awaitable<void>;

constexpr std::size_t piece_size = 64 * 1024;
constexpr std::string_view bytes_type = "application/octet-stream";
constexpr std::string_view json_type = "application/json";

/// Smaller files are read and closed at once.
constexpr std::uint64_t small_file = 64 * 1024;

/// A file to be sent from `offset` on.
struct opened_file {
  readable_file file = {};
  std::uint64_t offset = 0;
  /// Bytes to send; of a file of unknown size at most so many.
  std::uint64_t length = 0;
  /// The first bytes, where they have been read already; the file is closed if these are all.
  std::string content = {};
};

/// Reads what comes next, and closes the file behind it.
std::string next_piece(opened_file& from) {
  auto piece =
      read_piece(from.file, from.offset,
                 static_cast<std::size_t>((std::min<std::uint64_t>)(piece_size, from.length)));
  from.offset += piece.size();
  from.length -= piece.size();
  if (piece.empty() || from.length == 0)
    from.file.fd.reset();
  return piece;
}

opened_file open_to_send(file_root const& root, std::string const& path, std::uint64_t offset,
                         std::uint64_t length, bool head_only) {
  opened_file opened{open_for_reading(root, path), offset, length, {}};
  auto& file = opened.file;
  if (!file.size_known && length > 0) {
    // The first read comes before the head, so that its failure is an answer.
    opened.content = next_piece(opened);
    return opened;
  }
  file.size_known = true;
  opened.length = file.size > offset ? (std::min)(file.size - offset, length) : 0;
  if (!head_only && opened.length <= small_file) {
    while (opened.length > 0) {
      auto const piece = next_piece(opened);
      // It has become shorter meanwhile.
      if (piece.empty())
        break;
      opened.content += piece;
    }
    opened.length = opened.content.size();
  }
  if (head_only || opened.length <= small_file)
    file.fd.reset();
  return opened;
}

/// Files of unknown size: piece by piece to the end. The file is closed before the end is said.
nothing send_pieces(file_call const& call, opened_file& opened) {
  std::string piece = std::move(opened.content);
  if (piece.empty()) {
    co_await call.ex.begin(200, bytes_type, 0);
    co_await call.ex.finish();
    co_return;
  }
  auto const read = [&opened] { return next_piece(opened); };
  co_await call.ex.begin(200, bytes_type, std::nullopt);
  while (!piece.empty() && call.ex.head().method != "HEAD") {
    co_await call.ex.write(piece);
    if (!opened.file.fd)
      break;
    piece = co_await run_blocking(call.shared.blocking, read);
  }
  co_await call.ex.finish();
}

nothing read_route(file_call call) {
  auto const active = call.shared.activity.hold();
  file_parameters const parameters(call.ex.head());
  auto const path = parameters.path();
  auto const offset = parameters.number("offset").value_or(0);
  auto const length =
      parameters.number("length").value_or((std::numeric_limits<std::uint64_t>::max)());
  bool const head_only = call.ex.head().method == "HEAD";
  released_on<std::unique_ptr<opened_file>> held(call.shared.blocking, nullptr);
  *held = co_await run_blocking(call.shared.blocking, [&] {
    return std::make_unique<opened_file>(open_to_send(*call.root, path, offset, length, head_only));
  });
  opened_file& opened = **held;
  if (!opened.file.size_known) {
    co_await send_pieces(call, opened);
    co_return;
  }
  co_await call.ex.begin(200, bytes_type, opened.length);
  if (!opened.content.empty())
    co_await call.ex.write(opened.content);
  else if (opened.file.fd)
    co_await call.ex.send_file(std::move(opened.file.fd), opened.offset, opened.length);
  co_await call.ex.finish();
}

nothing list_route(file_call call) {
  auto const active = call.shared.activity.hold();
  file_parameters const parameters(call.ex.head());
  auto const path = parameters.path();
  auto const after = parameters.text("after");
  auto const limit = static_cast<std::size_t>(
      (std::min<std::uint64_t>)(parameters.number("limit").value_or(directory_page::default_limit),
                                directory_page::max_limit));
  directory_page page = co_await run_blocking(call.shared.blocking, [&call, &path, &after, limit] {
    return directory_page(*call.root, path, limit, after);
  });
  auto const next = [&page] { return page.next_piece(); };
  std::string piece = co_await run_blocking(call.shared.blocking, next);
  std::optional<std::uint64_t> known_length;
  if (page.ended())
    known_length = piece.size();
  co_await call.ex.begin(200, json_type, known_length);
  while (!piece.empty()) {
    co_await call.ex.write(piece);
    piece.clear();
    if (!page.ended())
      piece = co_await run_blocking(call.shared.blocking, next);
  }
  co_await call.ex.finish();
}

nothing stat_route(file_call call) {
  auto const active = call.shared.activity.hold();
  auto const path = file_parameters(call.ex.head()).path();
  auto const entry = co_await run_blocking(call.shared.blocking,
                                           [&call, &path] { return stat_file(*call.root, path); });
  auto const answer = wire::file_entry_to_json(entry);
  co_await call.ex.respond(200, answer);
}

/// Performs `work`, which returns the path for the answer, once per operation id.
template <class Work>
nothing change(file_call const& call, char const* member, Work work) {
  auto const op = file_parameters(call.ex.head()).operation();
  auto ticket = co_await call.operations->enter(call.ex, call.shared, op);
  if (ticket.replayed()) {
    co_await call.ex.respond(ticket.answer().status, ticket.answer().body);
    co_return;
  }
  std::string const path = co_await run_blocking(call.shared.blocking, std::move(work));
  json answer = json::object();
  wire::detail::put_bytes(answer, member, path);
  ticket.complete(answer);
  co_await call.ex.respond(200, answer);
}

nothing delete_route(file_call call) {
  auto const active = call.shared.activity.hold();
  file_parameters const parameters(call.ex.head());
  auto const path = parameters.path();
  bool const recursive = parameters.flag("recursive", false);
  co_await change(call, "deleted",
                  [&call, &path, recursive] { return remove_file(*call.root, path, recursive); });
}

nothing mkdir_route(file_call call) {
  auto const active = call.shared.activity.hold();
  auto const path = file_parameters(call.ex.head()).path();
  co_await change(call, "created", [&call, &path] { return ensure_directory(*call.root, path); });
}

}  // namespace

void add_files_routes(router& routes, context& shared, std::string_view prefix,
                      file_root_of root_of) {
  using route = nothing (*)(file_call);
  auto const operations = std::make_shared<file_operations>();
  auto const add = [&](std::string_view method, std::string_view name, route handle) {
    routes.add(method, std::string(prefix) + "/files/" + std::string(name),
               [&shared, root_of, operations, handle](exchange& ex) {
                 return handle(file_call{ex, shared, root_of(ex), operations});
               });
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
  features["files_operations"] = true;
  return features;
}

}  // namespace hf::agent
