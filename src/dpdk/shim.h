/*
 * The whole of DPDK that Rust sees. No DPDK header is included here: shim.c includes them, and proves by static assertion
 * that what is mirrored below (field offsets, flag values) is what the installed DPDK says.
 *
 * Functions returning int give 0 or more on success and a negative errno on failure, whatever DPDK's own convention.
 */
#ifndef CES_SHIM_H
#define CES_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* struct rte_mbuf: its first cache line, and what is used of its second. */
struct ces_mbuf {
	uint8_t *buf_addr;
	uint64_t buf_iova;
	uint16_t data_off;
	uint16_t refcnt;
	uint16_t nb_segs;
	uint16_t port;
	uint64_t ol_flags;
	uint32_t packet_type;
	uint32_t pkt_len;
	uint16_t data_len;
	uint16_t vlan_tci;
	uint32_t rss; /* hash.rss */
	uint32_t tag; /* hash.fdir.hi: ours, as flow director is never enabled */
	uint16_t vlan_tci_outer;
	uint16_t buf_len;
	void *pool;
	struct ces_mbuf *next;
	uint64_t tx_offload;
};

#define CES_HEADROOM 128u
#define CES_DEFAULT_DATA_ROOM 2176u
#define CES_MAX_LCORE 128u

/* ol_flags */
#define CES_RX_VLAN_STRIPPED 0x40u
#define CES_RX_RSS_HASH 0x2u
#define CES_RX_IP_CKSUM_BAD 0x10u
#define CES_RX_IP_CKSUM_GOOD 0x80u
#define CES_RX_IP_CKSUM_MASK 0x90u
#define CES_RX_L4_CKSUM_BAD 0x8u
#define CES_RX_L4_CKSUM_GOOD 0x100u
#define CES_RX_L4_CKSUM_MASK 0x108u
#define CES_TX_VLAN 0x200000000000000u
#define CES_TX_IP_CKSUM 0x40000000000000u
#define CES_TX_IPV4 0x80000000000000u

/* Bits of tx_offload. */
#define CES_TX_L2_LEN_BITS 7u
#define CES_TX_L3_LEN_BITS 9u

/* Port offloads. */
#define CES_RX_OFFLOAD_VLAN_STRIP 0x1u
#define CES_RX_OFFLOAD_IPV4_CKSUM 0x2u
#define CES_RX_OFFLOAD_UDP_CKSUM 0x4u
#define CES_RX_OFFLOAD_TCP_CKSUM 0x8u
#define CES_RX_OFFLOAD_SCATTER 0x2000u
#define CES_RX_OFFLOAD_RSS_HASH 0x80000u
#define CES_TX_OFFLOAD_VLAN_INSERT 0x1u
#define CES_TX_OFFLOAD_IPV4_CKSUM 0x2u
#define CES_TX_OFFLOAD_MULTI_SEGS 0x8000u

/* Log levels, most urgent first. */
#define CES_LOG_ERR 4u
#define CES_LOG_WARNING 5u
#define CES_LOG_NOTICE 6u
#define CES_LOG_INFO 7u

struct ces_pool; /* struct rte_mempool */

/* Environment. */
typedef void (*ces_log_sink)(uint32_t level, const char *text, size_t length);
int ces_log_redirect(ces_log_sink sink);
int ces_eal_init(int argc, char **argv);
int ces_eal_cleanup(void);
const char *ces_strerror(int errnum);
uint64_t ces_tsc_hz(void);

/* Lcores. */
bool ces_lcore_is_worker(uint32_t lcore);
bool ces_lcore_is_waiting(uint32_t lcore);
int ces_lcore_launch(uint32_t lcore, int (*function)(void *), void *argument);
int ces_lcore_wait(uint32_t lcore);

/* Pools and mbufs. */
int ces_pool_create(const char *name, uint32_t mbufs, uint32_t cache, uint16_t data_room, int socket,
		    struct ces_pool **pool);
void ces_pool_free(struct ces_pool *pool);
uint32_t ces_pool_available(const struct ces_pool *pool);
uint32_t ces_pool_size(const struct ces_pool *pool);
struct ces_mbuf *ces_mbuf_alloc(struct ces_pool *pool);
void ces_mbuf_free(struct ces_mbuf *mbuf);
void ces_mbuf_free_bulk(struct ces_mbuf **mbufs, uint32_t count);
int ces_mbuf_chain(struct ces_mbuf *head, struct ces_mbuf *tail);
int ces_mbuf_linearize(struct ces_mbuf *mbuf);

/* Ports: control. */
struct ces_port_info {
	const char *driver;
	int32_t socket;
	uint16_t max_rx_queues;
	uint16_t max_tx_queues;
	uint16_t min_mtu;
	uint16_t max_mtu;
	uint8_t rss_key_length;
	uint64_t rx_offloads;
	uint64_t tx_offloads;
	uint64_t rss_types;
};

struct ces_port_conf {
	uint16_t rx_queues;
	uint16_t tx_queues;
	bool rx_interrupts;
	uint16_t mtu; /* 0: the device's own default */
	uint64_t rx_offloads;
	uint64_t tx_offloads;
	uint64_t rss_types; /* 0: no RSS */
	const uint8_t *rss_key;
	uint8_t rss_key_length;
};

struct ces_link {
	bool up;
	bool full_duplex;
	uint32_t speed_mbps; /* 0 or UINT32_MAX: unknown */
};

struct ces_port_stats {
	uint64_t rx_packets;
	uint64_t tx_packets;
	uint64_t rx_bytes;
	uint64_t tx_bytes;
	uint64_t rx_missed;
	uint64_t rx_errors;
	uint64_t tx_errors;
	uint64_t rx_no_mbuf;
};

#define CES_PORT_NAME_SIZE 64u

int ces_port_by_name(const char *name, uint16_t *port);
bool ces_port_next(uint16_t from, uint16_t *port); /* the first port not below `from` */
int ces_port_name(uint16_t port, char name[CES_PORT_NAME_SIZE]);
int ces_port_info(uint16_t port, struct ces_port_info *info);
uint64_t ces_rss_types_ip_l4(void);
int ces_port_configure(uint16_t port, const struct ces_port_conf *conf);
int ces_port_adjust_descriptors(uint16_t port, uint16_t *rx, uint16_t *tx);
int ces_rx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, int socket, struct ces_pool *pool);
int ces_tx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, int socket);
int ces_port_start(uint16_t port);
int ces_port_stop(uint16_t port);
int ces_port_close(uint16_t port);
int ces_port_promiscuous(uint16_t port);
int ces_port_all_multicast(uint16_t port);
int ces_port_link(uint16_t port, struct ces_link *link);
int ces_port_stats(uint16_t port, struct ces_port_stats *stats);
int ces_port_mac(uint16_t port, uint8_t mac[6]);
int ces_port_set_mac(uint16_t port, const uint8_t mac[6]);
int ces_port_mtu(uint16_t port, uint16_t *mtu);
int ces_port_set_mtu(uint16_t port, uint16_t mtu);

/* Ports: packets. One call a burst. */
uint16_t ces_rx_burst(uint16_t port, uint16_t queue, struct ces_mbuf **mbufs, uint16_t count);
uint16_t ces_tx_burst(uint16_t port, uint16_t queue, struct ces_mbuf **mbufs, uint16_t count);

/*
 * Interrupts of receive queues, of a port that was configured with them and has started. They are told to an epoll
 * instance; which is read by ces_rx_interrupts_seen alone, as some are counters to be reset. Armed, one comes for packets
 * from then on; -ENOTSUP where they cannot be off.
 */
int ces_rx_interrupt_add(uint16_t port, uint16_t queue, int epoll);
int ces_rx_interrupt_remove(uint16_t port, uint16_t queue, int epoll);
int ces_rx_interrupt_arm(uint16_t port, uint16_t queue);
int ces_rx_interrupt_disarm(uint16_t port, uint16_t queue);
void ces_rx_interrupts_seen(int epoll);

#endif
