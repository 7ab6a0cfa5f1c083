#ifndef HF_SANDBOX_FILES_HPP
#define HF_SANDBOX_FILES_HPP

#include <hf/sandbox/agent/client.hpp>
#include <hf/sandbox/agent/file_calls.hpp>
#include <hf/sandbox/agent/file_ends.hpp>
#include <hf/sandbox/agent/file_transfer.hpp>
#include <hf/sandbox/detail/crypto.hpp>
#include <hf/sandbox/detail/local_file.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/file_options.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/wire/files.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <cstdint>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf {

using wire::file_entry;
using wire::file_listing;
using wire::file_type;
using wire::write_result;

/// The files of a machine.
///
/// Paths are the machine's, as bytes; relative ones start at the agent's working directory (pooled
/// sandboxes: every path is below the sandbox's home). Calls block, may come from several threads
/// at once, and report `hf::error`: `not_found`, `is_directory`, `not_directory`, `not_regular`,
/// `not_empty`, `permission_denied`, `no_space`, `resource_exhausted`, `io_error`, and whatever the
/// transport reports. Agents of the common protocol have no codes of their own: what they say is
/// told from the error number in their text. Connection failures are retried where a
/// repetition can do no harm.
template <transport Transport>
class basic_files {
 public:
  /// The files behind this agent; made by `basic_sandbox::files`.
  explicit basic_files(std::shared_ptr<agent_client<Transport>> agent) : agent_(std::move(agent)) {}

  /// All entries of a directory, sorted by the bytes of their names; "." and ".." are not among
  /// them. Follows as many pages as it takes; `errc::too_large` beyond 1,000,000 entries or 1 GiB
  /// of names and paths: such a directory is for `list_page`.
  [[nodiscard]] std::vector<file_entry> list(std::string const& path,
                                             call_options const& options = {}) {
    std::vector<file_entry> all;
    std::string after;
    std::uint64_t text = 0;
    for (;;) {
      auto page = list_page(path, after, 0, options);
      for (auto const& entry : page.entries)
        text += entry.name.size() + entry.path.size();
      if (all.size() + page.entries.size() > 1'000'000 || text > (std::uint64_t{1} << 30))
        throw error(errc::too_large,
                    detail::file_call_name("list", path) +
                        ": more than 1,000,000 entries or 1 GiB of names; use list_page",
                    {.where = hop::client, .may_have_reached_peer = true});
      all.insert(all.end(), std::make_move_iterator(page.entries.begin()),
                 std::make_move_iterator(page.entries.end()));
      if (!page.truncated)
        return all;
      if (!page.next || (*page.next <= after && !after.empty()))
        throw error(errc::protocol_error,
                    detail::file_call_name("list", path) + ": the pages do not go on",
                    {.where = hop::agent, .may_have_reached_peer = true});
      after = std::move(*page.next);
    }
  }

  /// One page of a directory: the entries whose names come behind `after`, at most `limit` of them
  /// (0: the agent's default, 10,000; it takes no more than 50,000).
  [[nodiscard]] file_listing list_page(std::string const& path, std::string const& after = {},
                                       std::uint64_t limit = 0, call_options const& options = {}) {
    detail::file_target_text target(wire::files_list_route);
    if (limit != 0)
      target.add("limit", std::to_string(limit));
    if (!after.empty())
      target.add("after", after);
    return wire::file_listing_from_json(get("list", target, path, options));
  }

  /// What is at the path; a symbolic link is not followed. `errc::not_found` when there is nothing.
  [[nodiscard]] file_entry stat(std::string const& path, call_options const& options = {}) {
    return wire::file_entry_from_json(
        get("stat", detail::file_target_text(wire::files_stat_route), path, options));
  }

  /// Whether there is something at the path, be it a dangling link.
  [[nodiscard]] bool exists(std::string const& path, call_options const& options = {}) {
    try {
      static_cast<void>(stat(path, options));
      return true;
    } catch (error const& e) {
      if (e.kind() == errc::not_found && e.http_status() == 404)
        return false;
      throw;
    }
  }

  /// Makes a directory and its missing parents; one that is there already is fine.
  void make_directory(std::string const& path, call_options const& options = {}) {
    auto const doing = detail::file_call_name("make directory", path);
    detail::validate_remote_path(doing, path);
    detail::file_target_text target(wire::files_mkdir_route);
    target.add("path", path).add("op", detail::new_operation());
    auto rq = agent_->make_request("POST", target.str(), options);
    rq.body = std::string();
    static_cast<void>(detail::call_operation(*agent_, doing, std::move(rq), true));
  }

  /// Removes a file, a link or an empty directory; with `recursive` a directory and all it holds.
  /// Links are never followed. `errc::not_empty` for a full directory, `errc::not_found` for
  /// nothing; `errc::outcome_unknown` when the connection broke and the agent keeps no operation
  /// ids.
  void remove(std::string const& path, bool recursive = false, call_options const& options = {}) {
    auto const doing = detail::file_call_name("remove", path);
    detail::validate_remote_path(doing, path);
    detail::file_target_text target(wire::files_delete_route);
    target.add("path", path);
    if (recursive)
      target.add("recursive", "1");
    target.add("op", detail::new_operation());
    auto const rq = agent_->make_request("DELETE", target.str(), options);
    static_cast<void>(detail::call_operation(*agent_, doing, rq, false));
  }

  /// The content of a regular file, up to `max_size` bytes (`errc::too_large`). Files of the kernel
  /// (`/proc`) are read to their end where the agent is ours. `errc::conflict` when the file
  /// changed its size meanwhile.
  [[nodiscard]] std::string read(std::string const& path, read_options const& options = {}) {
    detail::validate_remote_path("read", path);
    detail::memory_target into(options.max_size);
    detail::file_transfer<Transport>(*agent_, path, options.transfer).download(into);
    return into.take();
  }

  /// Writes a file, replacing what it held. Our agent puts the new content in place all at once
  /// wherever the file system lets it (the result's `atomic`); a broken call leaves the old content
  /// then. In several streams (see `upload`) it is not atomic.
  write_result write(std::string const& path, std::string_view content,
                     write_options const& options = {}) {
    detail::memory_source from(content);
    return write_from(path, from, options);
  }

  /// Copies a file of this machine to the machine, holding no more than a buffer of it. Files of the
  /// kernel (`/proc`, `/sys`) are read to their end. `errc::conflict` when the file became longer or
  /// shorter meanwhile.
  ///
  /// As one stream this is `write`. In several streams (the default for agents behind a proxy) the
  /// parts are written in place, the end last, and with it the final size: a call that throws then
  /// leaves the target with some of the new parts, and only repeating it makes the file whole.
  write_result upload(std::filesystem::path const& local, std::string const& remote,
                      write_options const& options = {}) {
    auto file = detail::local_file::open(local);
    if (file.size() <= detail::doubted_size)
      return write(remote, detail::read_to_end(file), options);
    detail::file_source from(file);
    return write_from(remote, from, options);
  }

  /// Copies a file of the machine to this one, holding no more than a buffer of it. It appears
  /// under its name, in place of an older file, only when it is complete; until then it is a hidden
  /// file beside it, which a failure removes. Its permissions are those of any new file.
  void download(std::string const& remote, std::filesystem::path const& local,
                transfer_options const& options = {}) {
    detail::validate_remote_path("read", remote);
    std::error_code ignored;
    if (!local.has_filename() || std::filesystem::is_directory(local, ignored))
      throw detail::local_file_error("write", local,
                                     std::make_error_code(std::errc::is_a_directory));
    detail::partial_file part(local, detail::random_hex(8));
    detail::file_target into(part.file());
    detail::file_transfer<Transport>(*agent_, remote, options).download(into);
    part.commit();
  }

 private:
  wire::json get(std::string_view verb, detail::file_target_text target, std::string const& path,
                 call_options const& options) {
    auto const doing = detail::file_call_name(verb, path);
    detail::validate_remote_path(doing, path);
    target.add("path", path);
    auto const rq = agent_->make_request("GET", target.str(), options);
    return detail::file_answer_json(doing, agent_->call_idempotent(doing, rq));
  }

  write_result write_from(std::string const& path, detail::byte_source& from,
                          write_options const& options) {
    detail::validate_remote_path("write", path);
    if (options.mode && (*options.mode < 0 || *options.mode > 0777))
      throw error(errc::invalid_argument,
                  detail::file_call_name("write", path) + ": mode has more than permission bits");
    if (options.require_atomic)
      agent_->require("files_atomic_write",
                      {.deadline = options.transfer.deadline, .stop = options.transfer.stop});
    return detail::file_transfer<Transport>(*agent_, path, options.transfer).upload(from, options);
  }

  std::shared_ptr<agent_client<Transport>> agent_;
};

}  // namespace hf

#endif
