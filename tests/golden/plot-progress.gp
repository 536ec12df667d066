set terminal svg noenhanced size 900,760 font 'Helvetica,12' background '#ffffff'
set encoding utf8
set output 'x.svg'
set border 3 lc rgb '#666666'
set tics nomirror out scale 0.5 textcolor rgb '#222222'
set grid ytics lc rgb '#dddddd' lt 1
set key off
set style fill solid 1
set tmargin 4
set label 1 'small' at graph 0, graph 1 left offset 0,2.2 font ',15' tc rgb '#111111'
set label 2 'ahd on 3 devices, batch 64, step 12 of 12' at graph 0, graph 1 left offset 0,0.9 tc rgb '#666666'
set xrange [0:12]
set format x ''
set label 1 offset 0,3
set label 2 offset 0,1.8
set key at graph 1.01, graph 1 left top vertical Left reverse samplen 1.5 spacing 1.1 font ',10'
set multiplot layout 3,1 margins char 10,char 14,char 4,char 5 spacing char 1,char 1.6
set format y '%g'
set logscale y
unset arrow
set arrow from first 4, graph 0 to first 4, graph 1 nohead back lc rgb '#e4e4e4'
set label 'epoch 1' at first 4, graph 1 center offset 0,0.5 font ',8' tc rgb '#999999'
set arrow from first 8, graph 0 to first 8, graph 1 nohead back lc rgb '#e4e4e4'
set label '2' at first 8, graph 1 center offset 0,0.5 font ',8' tc rgb '#999999'
set arrow from first 12, graph 0 to first 12, graph 1 nohead back lc rgb '#e4e4e4'
set label '3' at first 12, graph 1 center offset 0,0.5 font ',8' tc rgb '#999999'
set arrow from first 5, graph 0 to first 5, graph 1 nohead lw 1.5 dt 2 lc rgb '#999999'
set label 'resumed' at first 5, graph 0.95 left offset 0.4,0 font ',9' tc rgb '#999999'
set ylabel 'loss'
$loss0 << END
2 0.5
4 0.25
6 0.166667
7 0.166667
12 0.0833333
END
$loss1 << END
2 1.5
4 0.75
5 0.5
12 0.25
END
plot $loss0 using 1:2 with lines lw 1.5 lc rgb '#0072b2' title 'conv', \
    $loss1 using 1:2 with lines lw 1.5 lc rgb '#d55e00' title 'head'
unset label
unset logscale y
unset arrow
set arrow from first 4, graph 0 to first 4, graph 1 nohead back lc rgb '#e4e4e4'
set arrow from first 8, graph 0 to first 8, graph 1 nohead back lc rgb '#e4e4e4'
set arrow from first 12, graph 0 to first 12, graph 1 nohead back lc rgb '#e4e4e4'
set arrow from first 5, graph 0 to first 5, graph 1 nohead lw 1.5 dt 2 lc rgb '#999999'
set ylabel 'samples/s'
set yrange [0:1408]
$rate0 << END
2 1280
4 1280
6 1280
12 1280
END
plot $rate0 using 1:2 with lines lw 1.5 lc rgb '#444444' notitle
unset label
unset logscale y
unset arrow
set arrow from first 4, graph 0 to first 4, graph 1 nohead back lc rgb '#e4e4e4'
set arrow from first 8, graph 0 to first 8, graph 1 nohead back lc rgb '#e4e4e4'
set arrow from first 12, graph 0 to first 12, graph 1 nohead back lc rgb '#e4e4e4'
set arrow from first 5, graph 0 to first 5, graph 1 nohead lw 1.5 dt 2 lc rgb '#999999'
set ylabel 'waiting, %'
set yrange [0:100]
set xlabel 'step'
set format x
$wait0 << END
2 8
4 8
END
$wait1 << END
2 40
4 40
6 5
END
$wait2 << END
6 20
END
plot $wait0 using 1:2 with lines lw 1.5 lc rgb '#0072b2' title 'device 0', \
    $wait1 using 1:2 with lines lw 1.5 lc rgb '#d55e00' title 'device 1', \
    $wait2 using 1:2 with lines lw 1.5 lc rgb '#009e73' title 'device 2'
unset multiplot
unset output
