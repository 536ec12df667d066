set terminal svg noenhanced size 980,260 font 'Helvetica,12' background '#ffffff'
set encoding utf8
set output 'x.svg'
set border 3 lc rgb '#666666'
set tics nomirror out scale 0.5 textcolor rgb '#222222'
set grid ytics lc rgb '#dddddd' lt 1
set key off
set style fill solid 1
set tmargin 4
set label 1 "small_it\047s \042odd\042^2: ahd" at graph 0, graph 1 left offset 0,2.2 font ',15' tc rgb '#111111'
set label 2 'simulated, from 0.000 ms on; numbers are blocks' at graph 0, graph 1 left offset 0,0.9 tc rgb '#666666'
set ytics ('device 0' 4.5, 'copy out' 3.5, 'loader' 2.5, 'device 1' 1.5, 'copy in' 0.5) scale 0
set grid noytics xtics lc rgb '#dddddd' lt 1
set border 1
set xrange [0:2]
set yrange [0:5]
set xlabel 'ms'
set label '0' at 0.03,2.5 center font ',9' tc rgb '#202020' front
set label '0' at 0.09,2.5 center font ',9' tc rgb '#202020' front
set label '0' at 0.11,4.5 center font ',9' tc rgb '#fdfdfd' front
set label '0' at 0.26,4.5 center font ',9' tc rgb '#202020' front
set label '0' at 0.56,4.5 center font ',9' tc rgb '#fdfdfd' front
set label '1' at 0.2036,1.5 center font ',9' tc rgb '#fdfdfd' front
set label '1' at 0.3136,1.5 center font ',9' tc rgb '#202020' front
set label '1' at 0.5386,1.5 center font ',9' tc rgb '#fdfdfd' front
set label '0' at 0.795,2.5 center font ',9' tc rgb '#202020' front
set label '0' at 0.815,4.5 center font ',9' tc rgb '#fdfdfd' front
set label '0' at 0.965,4.5 center font ',9' tc rgb '#202020' front
set label '0' at 1.265,4.5 center font ',9' tc rgb '#fdfdfd' front
set label '1' at 0.9086,1.5 center font ',9' tc rgb '#fdfdfd' front
set label '1' at 1.0186,1.5 center font ',9' tc rgb '#202020' front
set label '1' at 1.2436,1.5 center font ',9' tc rgb '#fdfdfd' front
set label '0' at 1.5,2.5 center font ',9' tc rgb '#202020' front
set label '0' at 1.52,4.5 center font ',9' tc rgb '#fdfdfd' front
set label '0' at 1.67,4.5 center font ',9' tc rgb '#202020' front
set label '0' at 1.885,4.5 center font ',9' tc rgb '#fdfdfd' front
set label '1' at 1.6136,1.5 center font ',9' tc rgb '#fdfdfd' front
set label '1' at 1.7236,1.5 center font ',9' tc rgb '#202020' front
set label '1' at 1.8993,1.5 center font ',9' tc rgb '#fdfdfd' front
set key outside right top vertical Left reverse samplen 1 spacing 1.2
$thin << END
0.7625 4.5 0.76 0.765 4.08 4.92 40563
1.4675 4.5 1.465 1.47 4.08 4.92 40563
END
$boxes << END
0.03 2.5 0 0.06 2.08 2.92 5682409
0.09 2.5 0.06 0.12 2.08 2.92 5682409
0.11 4.5 0.06 0.16 4.08 4.92 29362
0.26 4.5 0.16 0.36 4.08 4.92 15113984
0.56 4.5 0.36 0.76 4.08 4.92 13983232
0.1643 3.5 0.16 0.1686 3.08 3.92 15787074
0.1643 0.5 0.16 0.1686 0.08 0.92 15787074
0.2036 1.5 0.1686 0.2386 1.08 1.92 29362
0.3136 1.5 0.2386 0.3886 1.08 1.92 15113984
0.5386 1.5 0.3886 0.6886 1.08 1.92 13983232
0.6936 1.5 0.6886 0.6986 1.08 1.92 40563
0.795 2.5 0.765 0.825 2.08 2.92 5682409
0.815 4.5 0.765 0.865 4.08 4.92 29362
0.965 4.5 0.865 1.065 4.08 4.92 15113984
1.265 4.5 1.065 1.465 4.08 4.92 13983232
0.8693 3.5 0.865 0.8736 3.08 3.92 15787074
0.8693 0.5 0.865 0.8736 0.08 0.92 15787074
0.9086 1.5 0.8736 0.9436 1.08 1.92 29362
1.0186 1.5 0.9436 1.0936 1.08 1.92 15113984
1.2436 1.5 1.0936 1.3936 1.08 1.92 13983232
1.3986 1.5 1.3936 1.4036 1.08 1.92 40563
1.5 2.5 1.47 1.53 2.08 2.92 5682409
1.52 4.5 1.47 1.57 4.08 4.92 29362
1.67 4.5 1.57 1.77 4.08 4.92 15113984
1.885 4.5 1.77 2 4.08 4.92 13983232
1.5743 3.5 1.57 1.5786 3.08 3.92 15787074
1.5743 0.5 1.57 1.5786 0.08 0.92 15787074
1.6136 1.5 1.5786 1.6486 1.08 1.92 29362
1.7236 1.5 1.6486 1.7986 1.08 1.92 15113984
1.8993 1.5 1.7986 2 1.08 1.92 13983232
END
plot $boxes using 1:2:3:4:5:6:7 with boxxyerror fs solid 1 border rgb '#ffffff' lc rgb variable notitle, \
    $thin using 1:2:3:4:5:6:7 with boxxyerror fs solid 1 noborder lc rgb variable notitle, \
    NaN with boxes fs solid 1 noborder lc rgb '#56b4e9' title 'load', \
    NaN with boxes fs solid 1 noborder lc rgb '#f0e442' title 'relay', \
    NaN with boxes fs solid 1 noborder lc rgb '#0072b2' title 'teacher', \
    NaN with boxes fs solid 1 noborder lc rgb '#e69f00' title 'forward', \
    NaN with boxes fs solid 1 noborder lc rgb '#d55e00' title 'backward', \
    NaN with boxes fs solid 1 noborder lc rgb '#009e73' title 'update'
unset output
