/* SPDX-License-Identifier: MIT
 *
 * Reads the table that `flowtop --publish FILE` keeps: cumulative network counters of processes. docs/PUBLISH.md
 * describes the layout. No library, no lock, no privilege beyond reading the file.
 *
 *     struct flowtop_table table;
 *     static struct flowtop_process rows[FLOWTOP_ROWS];
 *     struct flowtop_header header;
 *
 *     if (flowtop_open(&table, "/run/flowtop/processes") == 0) {
 *         int count = flowtop_read(&table, &header, rows, FLOWTOP_ROWS);
 *         for (int i = 0; i < count; i++)
 *             printf("%u %s %llu\n", rows[i].pid, rows[i].name, (unsigned long long)rows[i].rx_bytes);
 *         flowtop_close(&table);
 *     }
 */
#ifndef FLOWTOP_PUBLISH_H
#define FLOWTOP_PUBLISH_H

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FLOWTOP_VERSION 1
#define FLOWTOP_ROWS 8192

struct flowtop_header {
	char magic[8]; /* "flowtopP" */
	uint32_t version;
	uint32_t header_size;
	uint32_t row_size;
	uint32_t rows; /* the table has room for */
	uint64_t generation; /* odd while flowtop writes */
	uint64_t updated_ns; /* end of the last interval, since 1970 */
	uint32_t publisher_pid;
	uint32_t running; /* 0: this table ended, open the path again */
	uint32_t used; /* rows from the first on that may hold a process */
	uint32_t reserved;
	uint64_t rx_bytes; /* the total: rows + evicted + untracked */
	uint64_t tx_bytes;
	uint64_t rx_msgs;
	uint64_t tx_msgs;
	uint64_t evicted_rx_bytes; /* of processes that lost their row */
	uint64_t evicted_tx_bytes;
	uint64_t untracked_rx_bytes; /* of nobody known */
	uint64_t untracked_tx_bytes;
	uint64_t missed_events;
};

struct flowtop_process {
	uint32_t pid; /* in the initial PID namespace */
	uint32_t used;
	uint64_t start_ns; /* since boot; with pid it identifies a process; 0: unknown */
	uint64_t rx_bytes;
	uint64_t tx_bytes;
	uint64_t rx_msgs;
	uint64_t tx_msgs;
	char name[16]; /* ends with a NUL; chosen by the process: print it escaped */
};

static_assert(sizeof(struct flowtop_header) == 128, "layout");
static_assert(sizeof(struct flowtop_process) == 64, "layout");

struct flowtop_table {
	const unsigned char *map;
	size_t size;
};

/* Maps a table. Returns 0, or -1 with errno: EPROTO if the file is no table of a version that is known here. */
static inline int flowtop_open(struct flowtop_table *table, const char *path)
{
	struct flowtop_header header;
	struct stat what;
	int fd = open(path, O_RDONLY | O_CLOEXEC), error = 0;

	if (fd < 0)
		return -1;
	if (fstat(fd, &what) != 0)
		error = errno;
	else if (pread(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header) ||
		 memcmp(header.magic, "flowtopP", 8) != 0 || header.version != FLOWTOP_VERSION ||
		 header.row_size != sizeof(struct flowtop_process) || header.rows > FLOWTOP_ROWS ||
		 (uint64_t)what.st_size < header.header_size + (uint64_t)header.rows * header.row_size)
		error = EPROTO;
	if (!error) {
		void *map = mmap(NULL, (size_t)what.st_size, PROT_READ, MAP_SHARED, fd, 0);

		if (map == MAP_FAILED)
			error = errno;
		table->map = (const unsigned char *)map;
		table->size = (size_t)what.st_size;
	}
	close(fd);
	errno = error;
	return error ? -1 : 0;
}

static inline void flowtop_close(struct flowtop_table *table)
{
	munmap((void *)table->map, table->size);
}

/* Copies the header and up to `room` rows of one moment. Returns the number of rows, or -1 with EAGAIN if flowtop
 * was writing at each of a thousand tries: try later, and if `updated_ns` stays, open the path again. */
static inline int flowtop_read(const struct flowtop_table *table, struct flowtop_header *header,
			       struct flowtop_process *rows, uint32_t room)
{
	const uint64_t *generation =
		(const uint64_t *)(table->map + offsetof(struct flowtop_header, generation));

	for (int tries = 0; tries < 1000; tries++) {
		uint64_t before = __atomic_load_n(generation, __ATOMIC_ACQUIRE);

		if (before & 1) {
			usleep(100);
			continue;
		}
		memcpy(header, table->map, sizeof(*header));
		uint32_t count = header->used < room ? header->used : room;

		if (count <= FLOWTOP_ROWS)
			memcpy(rows, table->map + header->header_size, (size_t)count * sizeof(*rows));
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (__atomic_load_n(generation, __ATOMIC_RELAXED) == before)
			return (int)count;
	}
	errno = EAGAIN;
	return -1;
}

#endif
