// Command ipfsgw is the reference IPFS importer and HTTP gateway (boxo, of which Kubo is made) for tests.
//
// It works on one folder of blocks, has no peers and listens on loopback only:
//
//	ipfsgw add   [-store DIR] [-chunker SPEC] [-links N] [-layout balanced|trickle] [-leaves raw|dag-pb] [-version 0|1] FILE...
//	ipfsgw serve  -store DIR  [-port N] [-absent fail|wait] [-patience D] [-verify] [-trustless]
//
// `add` prints a CID per file and, given a store, keeps the blocks. `serve` prints its URL once it listens.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/chunker"
	"github.com/ipfs/boxo/exchange"
	"github.com/ipfs/boxo/exchange/offline"
	"github.com/ipfs/boxo/gateway"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	"github.com/ipfs/boxo/ipld/unixfs/importer/trickle"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	flatfs "github.com/ipfs/go-ds-flatfs"
	ipld "github.com/ipfs/go-ipld-format"
)

func main() {
	err := errors.New("usage: ipfsgw add|serve [flags]; -h after the command lists them")
	if len(os.Args) > 1 {
		switch command, rest := os.Args[1], os.Args[2:]; command {
		case "add":
			err = add(rest)
		case "serve":
			err = serve(rest)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ipfsgw:", err)
		os.Exit(1)
	}
}

// blocksIn is a store of one file per block; without a folder it forgets what it is given.
func blocksIn(folder string) (blockstore.Blockstore, func() error, error) {
	if folder == "" {
		return blockstore.NewBlockstore(datastore.NewNullDatastore()), func() error { return nil }, nil
	}
	files, err := flatfs.CreateOrOpen(folder, flatfs.NextToLast(2), false)
	if err != nil {
		return nil, nil, err
	}
	return blockstore.NewBlockstore(files, blockstore.NoPrefix()), files.Close, nil
}

// layout is how a file becomes a DAG.
type layout struct {
	chunker string
	links   int
	shape   string
	leaves  string
	version int
}

func (l layout) build(path string, service ipld.DAGService) (ipld.Node, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	pieces, err := chunk.FromString(file, l.chunker)
	if err != nil {
		return nil, err
	}
	prefix, err := merkledag.PrefixForCidVersion(l.version)
	if err != nil {
		return nil, err
	}
	params := helpers.DagBuilderParams{
		Dagserv:    service,
		Maxlinks:   l.links,
		RawLeaves:  l.leaves == "raw",
		CidBuilder: prefix,
	}
	builder, err := params.New(pieces)
	if err != nil {
		return nil, err
	}
	if l.shape == "trickle" {
		return trickle.Layout(builder)
	}
	return balanced.Layout(builder)
}

func add(args []string) error {
	flags := flag.NewFlagSet("add", flag.ExitOnError)
	store := flags.String("store", "", "keep the blocks in this folder")
	var l layout
	flags.StringVar(&l.chunker, "chunker", "size-262144", "size-N, rabin-MIN-AVG-MAX or buzhash")
	flags.IntVar(&l.links, "links", 174, "links per node, at most")
	flags.StringVar(&l.shape, "layout", "balanced", "balanced or trickle")
	flags.StringVar(&l.leaves, "leaves", "raw", "raw or dag-pb")
	flags.IntVar(&l.version, "version", 1, "of the CID: 0 or 1")
	flags.Parse(args)
	kept, done, err := blocksIn(*store)
	if err != nil {
		return err
	}
	service := merkledag.NewDAGService(blockservice.New(kept, offline.Exchange(kept)))
	for _, path := range flags.Args() {
		root, err := l.build(path, service)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		fmt.Println(root.Cid())
	}
	return done()
}

// searching looks for absent blocks in vain until its caller's patience ends, as a node with peers may.
type searching struct{ exchange.Interface }

func (searching) GetBlock(ctx context.Context, _ cid.Cid) (blocks.Block, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (searching) GetBlocks(ctx context.Context, _ []cid.Cid) (<-chan blocks.Block, error) {
	none := make(chan blocks.Block)
	go func() {
		<-ctx.Done()
		close(none)
	}()
	return none, nil
}

func serve(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	store := flags.String("store", "", "the folder of blocks")
	port := flags.Int("port", 0, "on loopback; 0 picks one")
	absent := flags.String("absent", "fail", "when a block is not there: fail at once, or wait and then fail")
	patience := flags.Duration("patience", 30*time.Second, "how long to wait for bytes")
	verify := flags.Bool("verify", false, "hash every block that is read")
	trustless := flags.Bool("trustless", false, "serve raw blocks and CARs only")
	flags.Parse(args)
	kept, _, err := blocksIn(*store)
	if err != nil {
		return err
	}
	if *verify {
		kept = &blockstore.ValidatingBlockstore{Blockstore: kept}
	}
	var source exchange.Interface = offline.Exchange(kept)
	if *absent == "wait" {
		source = searching{source}
	}
	backend, err := gateway.NewBlocksBackend(blockservice.New(kept, source))
	if err != nil {
		return err
	}
	routes := http.NewServeMux()
	routes.Handle("/ipfs/", gateway.NewHandler(gateway.Config{
		DeserializedResponses: !*trustless,
		DisableHTMLErrors:     true,
		RetrievalTimeout:      *patience,
	}, backend))
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", listener.Addr())
	return http.Serve(listener, routes)
}
